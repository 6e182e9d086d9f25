"""Define the content of task.toml: its sections, and the type of each field."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from kernel_env.grading.metric import CellType
from kernel_env.grading.protocol import Counts, Feedback
from kernel_env.tasks import kaggle

GRADE_FILE = "grade.py"
"""The file with a task's own metric, and the name in task.toml that selects it."""
SingleLine = Annotated[str, StringConstraints(pattern=r"^[^\n]+$")]


def inside(path: str) -> str:
    """Return a path that stays in its folder. Raises `ValueError` for another."""
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError("it must be a path inside the folder, without ..")
    return path


FilePath = Annotated[SingleLine, AfterValidator(inside)]
Columns = Annotated[list[SingleLine], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Competition = Annotated[str, StringConstraints(pattern=rf"^{kaggle.NAME.pattern}$")]


class Section(BaseModel):
    """A table of task.toml; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricSection(Section):
    """The metric: a built-in one or a plug-in by name, or the task's own `grade.py`."""

    name: SingleLine
    """A metric's name, or "grade.py"."""
    column: SingleLine | None = None
    """The column of the answers that the metric reads beside the targets: 1 where the event
    happened and 0 where the row is censored (`concordance`), or the query of a row (`ndcg@K`)."""
    higher_is_better: bool | None = None
    """The direction; required with `name = "grade.py"`, forbidden otherwise."""
    wants: CellType | None = None
    """The cell type of the target columns; only with `name = "grade.py"`; default: `number`."""
    title: SingleLine | None = None
    """The metric's name in descriptions; only with `name = "grade.py"`."""


class SubmissionSection(Section):
    """The submission's format; without columns, the task's `grade.py` reads the file itself."""

    id_columns: Columns | None = None
    target_columns: Columns | None = None
    file: FilePath = "submission.csv"
    """The path in the workspace."""
    limit_mb: Positive = 100
    """The largest file that is accepted, in MB."""


class LimitsSection(Section):
    """An episode's default budget and the resources of its sandbox."""

    steps: Annotated[int, Field(gt=0)] = 60
    """The number of actions."""
    seconds: Positive = 3600
    """The duration of the episode in seconds."""
    cell_seconds: Positive = 600
    """The duration of one cell in seconds."""
    submissions: Annotated[int, Field(gt=0)] | None = None
    """The number of submissions that are graded; no limit by default."""
    memory_gb: Positive = 4
    workspace_gb: Positive = 2
    """The size of the workspace in GB."""
    cpus: Positive = 2
    """The number of CPUs; can be a fraction."""


class ResourcesSection(Section):
    """What a task needs beyond cores and memory of the sandbox."""

    gpus: Annotated[int, Field(ge=0, strict=True)] = 0
    """The number of GPUs."""
    libraries: tuple[SingleLine, ...] | None = None
    """The Python modules that its kernels import in advance; those of the image if it is missing.
    A new sandbox starts sooner with few, and each kernel has them at once with many."""


class ProtocolSection(Section):
    """What an agent learns about its scores, and which submission counts; see `grading.protocol`.

    Default: the protocol of the benchmark that the task was imported from.
    """

    feedback: Feedback | None = None
    counts: Counts | None = None


class KaggleSection(Section):
    """The Kaggle competition with the raw files; `kernel-env tasks prepare` downloads them."""

    competition: Competition
    """The last part of the address of the competition's page."""


class OriginSection(Section):
    """The origin of a task imported from another benchmark; its data and code are not copied."""

    benchmark: SingleLine
    """The benchmark's name."""
    id: SingleLine
    """The task's name in the benchmark."""
    places: Annotated[list[SingleLine], Field(min_length=1)]
    """The paths where the data can be; `prepare` gets the first one that exists."""
    kaggle: Competition | None = None
    """The Kaggle competition whose files `prepare` also accepts."""
    todo: SingleLine
    """What the operator must do if none of the paths exists."""
    environment: SingleLine | None = None
    """The environment of the task's code; default: that of the benchmark, by its name."""

    @property
    def code_environment(self) -> str:
        """Return the name of the environment that the task's code runs in."""
        return self.environment or self.benchmark


class ShrunkSection(Section):
    """What a small variant is made of; `kernel-env tasks shrink` writes it."""

    of: Name
    """The id of the large task."""
    rows: Annotated[int, Field(gt=0)]
    """The number of training rows."""
    test_rows: Annotated[int, Field(gt=0)]
    """The number of test rows."""
    seed: int = 0
    """What the choice of rows depends on."""
    agreement: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Spearman's rank correlation of the private scores of the reference pipelines on both
    leaderboards."""


class TaskFile(Section):
    """The content of task.toml. Only `metric` and `submission` are required."""

    id: Name
    """The task's name; default: the name of the folder, which it must equal."""
    name: SingleLine
    """The name for people; default: the id."""
    summary: SingleLine = ""
    """One sentence about the task."""
    domain: SingleLine = "other"
    """The kind of data, for example `tabular`. Reference pipelines exist for `tabular`, `language`,
    `vision` and `time series`."""
    kind: SingleLine = "other"
    """The kind of problem: `binary classification`, `multiclass classification`, `regression`, or
    another text."""
    image: Name = "tabular"
    """The sandbox's image."""
    pack: Name | None = None
    """The pack that the task was made of."""
    sets: list[Name] = []
    """The sets of tasks that it is in, such as `train` or `small`."""
    licence: SingleLine | None = None
    """The licence of the data."""
    source: SingleLine | None = None
    """The origin of the data."""
    hints: list[SingleLine] = []
    """What the feedback provider `static` says, one after another; see `episode.feedback`."""
    expected_minutes: Positive | None = None
    """The expected running time of a good solution, in minutes."""
    metric: MetricSection
    submission: SubmissionSection
    limits: LimitsSection = LimitsSection()
    resources: ResourcesSection = ResourcesSection()
    protocol: ProtocolSection = ProtocolSection()
    kaggle: KaggleSection | None = None
    origin: OriginSection | None = None
    shrunk: ShrunkSection | None = None
    raw: dict[FilePath, Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]] = {}
    """The SHA-256 of each raw file, by its path in the folder of the raw files."""
