"""Small deterministic agents for suites: a straight line, and failures of each kind."""

import asyncio
import json
from pathlib import Path
from typing import Any

from kernel_env.episode.actions import ExecuteCode
from kernel_env.errors import (
    AgentError,
    AgentSetupError,
    KernelEnvError,
    ModelError,
    SandboxError,
    TaskError,
)

SUBMIT = """
import csv, os
with open(os.environ["DATA_PATH"] + "/test.csv") as file:
    rows = list(csv.DictReader(file))
with open(os.environ["OUTPUT_PATH"], "w") as file:
    file.write("id,y\\n" + "".join(f"{row['id']},{SLOPE * float(row['x']):.6f}\\n" for row in rows))
"""
ERRORS: dict[str, type[Exception]] = {
    "agent": AgentError,
    "setup": AgentSetupError,
    "model": ModelError,
    "machine": SandboxError,
    "task": TaskError,
    "bug": ZeroDivisionError,
}


class Line:
    """Submits a straight line in its second step; its seed changes the slope."""

    model = ""
    slope = 3.0

    def __init__(self, options: Any) -> None:
        self.seed = options.seed

    async def play(self, episode: Any) -> None:
        await episode.act(ExecuteCode(code=f"SLOPE = {self.slope} - 0.1 * {self.seed}"))
        await episode.act(ExecuteCode(code=SUBMIT))


class Half(Line):
    """Submits half the slope."""

    slope = 1.5


class Slow(Line):
    """Waits between its two steps for as long as its script says, in seconds."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.seconds = float(Path(options.script).read_text())

    async def play(self, episode: Any) -> None:
        await episode.act(ExecuteCode(code=f"SLOPE = {self.slope} - 0.1 * {self.seed}"))
        await asyncio.sleep(self.seconds)
        await episode.act(ExecuteCode(code=SUBMIT))


class Failing(Line):
    """Raises an error the first times; its script is `{"error": KIND, "times": N}`."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.script = Path(options.script)
        self.plan = json.loads(self.script.read_text())
        if self.plan["error"] == "setup":
            raise ERRORS["setup"]("a failure\nof a test")

    async def play(self, episode: Any) -> None:
        counter = self.script.with_name(f"count-{self.seed}")
        count = int(counter.read_text()) if counter.exists() else 0
        counter.write_text(str(count + 1))
        if count < self.plan["times"]:
            error = ERRORS[self.plan["error"]]("a failure\nof a test")
            assert isinstance(error, KernelEnvError | ZeroDivisionError)
            raise error
        await super().play(episode)
