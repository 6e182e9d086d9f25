"""An agent: submits the sample submission and reads its score."""

from kernel_env import Episode, ExecuteCode, RequestInfo
from kernel_env.agents import Options

COPY_SAMPLE = """\
import os, shutil
shutil.copy(os.environ["DATA_PATH"] + "/sample_submission.csv", os.environ["OUTPUT_PATH"])
"""


class CopySample:
    """Submits the sample submission."""

    model = ""

    def __init__(self, options: Options) -> None:
        self.seed = options.seed

    async def play(self, episode: Episode) -> None:
        """Read the task, then submit."""
        await episode.act(RequestInfo(info_type="overview"))
        if episode.over is None:
            await episode.act(ExecuteCode(code=COPY_SAMPLE), thought="Start from the sample.")
