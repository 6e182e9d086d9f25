"""Define the options of an episode and check them before anything starts.

The command line, `make`, `open_episode` and the runner all build an `EpisodeConfig`. The module
`setup` resolves it on this machine: loaded task, prepared data, source of kernels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from kernel_env import plugins
from kernel_env.episode.budget import Budget
from kernel_env.episode.feedback import FeedbackProvider
from kernel_env.errors import UnknownName, UsageError
from kernel_env.field_docs import show_fields
from kernel_env.grading import protocol as protocols
from kernel_env.grading import reward as rewards
from kernel_env.grading.protocol import Counts, Feedback, Protocol
from kernel_env.grading.reward import Reward
from kernel_env.sandbox import gpus as host_gpus
from kernel_env.tasks import Task, catalog

AUTO = "auto"
"""The sandbox `docker` if an engine answers, otherwise `local` for trusted code."""


@show_fields
@dataclass(frozen=True, kw_only=True)
class EpisodeConfig:
    """The options that a caller selects for an episode.

    Raises `UnknownName` for a task, sandbox, image or reward that does not exist, and `UsageError`
    for anything else that is not valid, when it is created. `TaskError` if the task is not sound.
    """

    task: str | Task
    """A task's name, a task folder, or a loaded `Task`."""
    sandbox: str = AUTO
    """`docker`, `local`, a plug-in's name, or `auto`: docker if an engine answers, else local for
    trusted code and an error for any other."""
    image: str = ""
    """The sandbox's image; empty for the task's."""
    out: Path | str = Path("runs")
    """The episode gets a folder of its own below this one."""
    budget: Mapping[str, float | None] = field(default_factory=dict)
    """Limits that replace the task's own; see `Budget`."""
    reward: str | Reward = "progress"
    """`position`, `progress`, `final`, `raw`, `improvement`, `human_rank`, or a function
    `(grade, best_before, higher_is_better) -> float`. See `grading.reward`."""
    feedback: Feedback | None = None
    """Which scores the agent sees: `public`, `both`, `ladder` or `validity`; the task's by default.
    See `grading.protocol`."""
    counts: Counts | None = None
    """Which submission counts: the `best` one or the `last`; the task's by default."""
    feedback_provider: str | FeedbackProvider = ""
    """Who comments on the agent's steps: `static`, `human`, `llm`, a plug-in's name, or an object;
    empty for nobody. See `episode.feedback`."""
    feedback_settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the one that is named, by name."""
    agent: str = ""
    """The agent's name, for the result."""
    model: str = ""
    """The model's name, for the result."""
    seed: int = 0
    """The seed of the agent, for the result."""
    random_seed: int | None = None
    """What the global random states of `random`, NumPy and torch start from in the kernel; None for
    a new number. With a number, no sandbox of a pool is used."""
    trusted: bool = True
    """Whether the code that will run is the operator's own, so that `auto` may select `local`,
    with a warning, where no engine answers. Agents say it of themselves; see `Agent`."""
    branching: bool = True
    """Whether forks and trials can have files of their own. That needs a seccomp profile that
    allows two calls more than Docker's; without it, a trial pauses everything else, and a fork
    replays the cells in a new container."""
    gpus: int | None = None
    """Number of GPUs; None for the task's, or all that `gpu_device` names. An episode and its forks
    hold them until the last of these has ended; other episodes wait."""
    gpu_device: str | int = ""
    """Which GPUs: index or UUID, several separated by commas; empty for any that are free."""
    devices: Mapping[str, str] = field(default_factory=dict)
    """Further devices: path inside → path on this machine. `local` cannot rename them."""

    def __post_init__(self) -> None:
        """Check every option; starts nothing."""
        for name, types in (
            ("task", str | Task),
            ("sandbox", str),
            ("image", str),
            ("reward", str | Callable),
            ("feedback", str | None),
            ("counts", str | None),
            ("feedback_provider", str | FeedbackProvider),
            ("feedback_settings", Mapping),
            ("budget", Mapping),
            ("gpus", int | None),
            ("gpu_device", str | int),
            ("devices", Mapping),
            ("agent", str),
            ("model", str),
            ("seed", int),
            ("random_seed", int | None),
            ("trusted", bool),
        ):
            value = getattr(self, name)
            if not isinstance(value, types) or (isinstance(value, str) and not is_unicode(value)):
                raise UsageError(f"the option {name} is {value!r}; that is not a valid value")
        if self.sandbox != AUTO and self.sandbox not in plugins.names("sandbox"):
            raise UnknownName("sandbox", self.sandbox, [AUTO, *plugins.names("sandbox")])
        if self.image:
            from kernel_env.sandbox.docker import images

            images.find(self.image)
        provider = self.feedback_provider
        if isinstance(provider, str) and provider:
            known_providers = plugins.names("feedback provider")
            if provider not in known_providers:
                raise UnknownName("feedback provider", provider, known_providers)
        elif self.feedback_settings:
            raise UsageError("feedback_settings are for a feedback_provider that is named; none is")
        for what, value, known in (
            ("feedback", self.feedback, get_args(Feedback)),
            ("rule on what counts", self.counts, get_args(Counts)),
        ):
            if value is not None and value not in known:
                raise UnknownName(what, value, known)
        reward = rewards.find(self.reward)
        task = self.load_task()
        if self.protocol.feedback == "ladder" and task.scoring.schema.is_free_form:
            raise UsageError(
                f"the feedback ladder compares rows, and only grade.py of {task.id} can read its"
                " submissions; choose public or validity"
            )
        Budget.of(task).changed(self.budget)
        if reward is rewards.human_rank and task.leaderboard.kind != "human":
            raise UsageError(
                f"the leaderboard of {task.id} has {task.leaderboard.kind} entries; human_rank"
                " needs a leaderboard of human teams, position works with any"
            )
        self._check_devices()
        self.gpu_candidates()

    def load_task(self) -> Task:
        """Return the task, which is loaded once. Raises `UnknownName`, `TaskError`."""
        return self._task

    @cached_property
    def _task(self) -> Task:
        return catalog.find(self.task) if isinstance(self.task, str) else self.task

    @property
    def protocol(self) -> Protocol:
        """Return the rules on what the agent learns and what counts."""
        return protocols.select(self.load_task().protocol, self.feedback, self.counts)

    # ── GPUs and other devices ────────────────────────────────────────────────────────────

    @property
    def gpu_names(self) -> list[str]:
        """Return the names in `gpu_device`."""
        return host_gpus.names_in(str(self.gpu_device))

    @property
    def gpu_count(self) -> int:
        """Return how many GPUs the episode gets."""
        if self.gpus is not None:
            return self.gpus
        return len(self.gpu_names) or self.load_task().file.resources.gpus

    def gpu_candidates(self) -> tuple[host_gpus.Gpu, ...]:
        """Return the GPUs of this machine of which the episode may get `gpu_count`.

        Empty if it needs none, or if its sandbox does not use this machine's GPUs. Raises
        `UsageError` for a wrong name or too few GPUs, `SandboxError` if the driver fails.
        """
        count, names = self.gpus, self.gpu_names
        host_gpus.check_request(count, names)
        if self.gpu_count and self.sandbox != AUTO:
            back_end = plugins.find("sandbox", self.sandbox)
            if not getattr(back_end, "host_gpus", False):
                return ()
        try:
            return host_gpus.select(count if names else self.gpu_count, names)
        except UsageError as error:
            if count is not None or names:
                raise
            task = self.load_task().id
            raise UsageError(f"{task} needs a GPU: {error}; --gpus 0 runs it without") from error

    def _check_devices(self) -> None:
        for name, device in self.devices.items():
            if not PurePosixPath(name).is_absolute():
                raise UsageError(
                    f"the device {device} is named {name!r}; it must be an absolute path"
                )
            if not Path(device).exists():
                raise UsageError(f"the device {device!r} is not on this machine")

    @property
    def image_name(self) -> str:
        """Return the name of the sandbox's image."""
        return self.image or self.load_task().file.image


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can encode a text; words of a command line need not be UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
