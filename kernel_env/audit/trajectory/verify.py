"""Verify a recorded episode: look for tampering, play it again, compare, and give one verdict.

| verdict | meaning |
|---|---|
| REPRODUCED | outputs are equal, some after masking, and so is each score, within the tolerance |
| DRIFTED | the code ran and something came out differently |
| FAILED | it could not be run here to its end |
| TAMPERED | it was changed after it was recorded; it is not run |
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kernel_env import temporary
from kernel_env.audit.trajectory.integrity import find_tampering
from kernel_env.audit.trajectory.needed_cells import plan_final
from kernel_env.audit.trajectory.playback import Playback, play
from kernel_env.audit.trajectory.recording import Recording
from kernel_env.audit.trajectory.steps import (
    TIMED_OUT,
    TOLERANCE,
    compare_finals,
    compare_step,
    end_of,
)
from kernel_env.audit.trajectory.verdict import (
    Setting,
    StepComparison,
    SubmissionComparison,
    Tampering,
    Verdict,
    Verification,
)
from kernel_env.episode import EpisodeConfig
from kernel_env.episode.step import Step
from kernel_env.episode.trajectory import Header, Trajectory
from kernel_env.errors import KernelEnvError, UsageError
from kernel_env.grading.host import Grader
from kernel_env.grading.reward import BUILT_IN
from kernel_env.tasks import catalog

SETTINGS = (
    *("version", "task_version", "sandbox", "image", "image_digest", "gpus"),
    *("cpus", "memory_gb", "host"),
)
"""The fields of a header that say what the code ran on."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a recorded episode is verified."""

    task: str | None = None
    """The task, if not the one that the recording names; a folder is possible only here."""
    sandbox: str = "auto"
    out: Path | None = None
    """Where the run of the replay is kept; None: it is removed."""
    gpus: int | None = None
    """None for as many as were recorded."""
    gpu_device: str = ""
    devices: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    """The time limit of the replay; None for the recorded one."""
    tolerance: float = TOLERANCE
    """How far scores of different submissions may be apart, relative to the larger one."""
    final_only: bool = False
    """Play only what the submission that counts needs, and compare only that."""

    def __post_init__(self) -> None:
        """Check the numbers. Raises `UsageError`."""
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(f"the tolerance is {self.tolerance}; it must be a number from 0 on")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise UsageError(f"the time limit is {self.seconds} s; it must be a positive number")


Report = Callable[[str, float | None], None]
Prepare = Callable[[EpisodeConfig], None]
"""Prepares the task's data and the image."""


def no_report(_text: str, _done: float | None) -> None:
    """Report nothing."""


async def verify(
    recording: Recording,
    options: Options,
    *,
    prepare: Prepare | None = None,
    grader: Grader | None = None,
    report: Report = no_report,
) -> Verification:
    """Verify a recorded episode; see `find_changes` and `replay_and_compare`."""
    return find_changes(recording) or await replay_and_compare(
        recording, options, prepare=prepare, grader=grader, report=report
    )


def find_changes(recording: Recording) -> Verification | None:
    """Return the verdict TAMPERED on an episode that was changed; None if it was not."""
    tampering = tuple(find_tampering(recording))
    return tampered(recording.trajectory, tampering) if tampering else None


def tampered(trajectory: Trajectory | None, tampering: Sequence[Tampering]) -> Verification:
    """Return the verdict on an episode that was changed.

    Args:
        trajectory: the episode; None if it cannot be read.
        tampering: what was changed.
    """
    first, more = tampering[0], len(tampering) - 1
    header = trajectory.header if trajectory else None
    return Verification(
        verdict="TAMPERED",
        reason=f"{first.where}: {first.what}" + (f"; and {more} more" if more else ""),
        episode=header.episode if header else "",
        task=header.task if header else "",
        steps=len(trajectory.steps) if trajectory else 0,
        has_digests=True,
        tampering=tuple(tampering),
    )


async def replay_and_compare(
    recording: Recording,
    options: Options,
    *,
    prepare: Prepare | None = None,
    grader: Grader | None = None,
    report: Report = no_report,
) -> Verification:
    """Play an episode again and compare. What goes wrong is a verdict, not an exception.

    Args:
        recording: the episode.
        options: how it is verified.
        prepare: called before the replay.
        grader: a grading process to share.
        report: called with the progress.

    Raises `UsageError` for options that do not fit the recording.
    """
    trajectory = recording.trajectory
    plan = plan_final(trajectory) if options.final_only else ()
    skipped = {each.step for each in plan if not each.played}
    steps = [step for step in trajectory.steps if step.number not in skipped]
    found = Verification(
        verdict="FAILED",
        reason="",
        episode=trajectory.header.episode,
        task=trajectory.header.task,
        steps=len(trajectory.steps),
        has_digests=recording.has_digests,
        plan=plan,
    )
    compared: list[StepComparison] = []

    def watch(recorded: Step, replayed: Step) -> str:
        done, count = recorded.number, len(trajectory.steps)
        report(f"{trajectory.header.task}: replaying · step {done} of {count}", done / count)
        if not options.final_only:
            compared.append(compare_step(recorded, replayed, tolerance=options.tolerance))
        return too_slow(recorded, replayed)

    folder = options.out or temporary.folder()
    try:
        config = config_of(trajectory.header, options, folder)
        if prepare is not None:
            prepare(config)
        playback = await play(steps, trajectory.header, config, grader=grader, watch=watch)
    except KernelEnvError as error:
        return replace(found, reason=str(error), compared=tuple(compared))
    finally:
        if options.out is None:
            temporary.remove(folder)
    found = replace(found, compared=tuple(compared), settings=settings(trajectory, playback))
    if reason := unfinished(playback):
        return replace(found, reason=reason)
    final = compare_finals(trajectory, playback.trajectory, options.tolerance)
    return concluded(replace(found, final=final))


# ── the replay ────────────────────────────────────────────────────────────────────────────


def config_of(header: Header, options: Options, out: Path) -> EpisodeConfig:
    """Return the options of an episode that is like a recorded one.

    Raises `UsageError`, `TaskError`.
    """
    task = options.task or header.task
    if options.task is None and task not in catalog.task_folders():
        raise UsageError(
            f"the task {task!r} is not in the catalogue; a notebook cannot name a folder, whose"
            " programs would run on this machine. If you trust it, give it with --task"
        )
    budget: dict[str, Any] = asdict(header.budget)
    if options.seconds is not None:
        budget["seconds"] = options.seconds
    gpus = options.gpus
    if gpus is None and not options.gpu_device:
        gpus = header.gpus
    return EpisodeConfig(
        task=task,
        agent="scripted",
        trusted=False,
        sandbox=options.sandbox,
        image=header.image,
        out=out,
        budget=budget,
        reward=header.reward if header.reward in BUILT_IN else EpisodeConfig.reward,
        feedback=header.feedback,  # type: ignore[arg-type]
        counts="last" if options.final_only else header.counts,  # type: ignore[arg-type]
        seed=header.seed,
        random_seed=header.random_seed,
        gpus=gpus,
        gpu_device=options.gpu_device,
        devices=options.devices,
    )


def too_slow(recorded: Step, replayed: Step) -> str:
    """Return why a replay cannot continue: a cell needs more time here than it may have."""
    one, other = recorded.cell, replayed.cell
    if one is None or other is None or end_of(other) != TIMED_OUT or end_of(one) == TIMED_OUT:
        return ""
    return (
        f"step {recorded.number} reached its time limit here after {other.seconds:.1f} s; when it"
        f" was recorded it took {one.seconds:.1f} s"
    )


def unfinished(playback: Playback) -> str:
    """Return why a replay did not come to its end; empty if it did."""
    if playback.stopped:
        return playback.stopped
    ending = playback.trajectory.ending
    if ending is not None and ending.status in ("finished", "budget"):
        return ""
    return f"the replay ended as {ending.status}: {ending.reason}" if ending else "it has no ending"


def settings(recorded: Trajectory, playback: Playback) -> tuple[Setting, ...]:
    """Return what the code ran on, as far as it differs; what was not recorded is left out."""
    one, other = recorded.header, playback.trajectory.header
    unknown = {field.name: field.default for field in fields(Header)}
    return tuple(
        Setting(name=name, recorded=str(was), replayed=str(now))
        for name in SETTINGS
        if (was := getattr(one, name)) != (now := getattr(other, name)) and was != unknown[name]
    )


# ── the verdict ───────────────────────────────────────────────────────────────────────────


def concluded(found: Verification) -> Verification:
    """Return the verdict on an episode that was played to its end."""
    final = found.final
    submissions = [step.submission for step in found.compared if step.submission]
    follows = all(each.reproduced for each in [*submissions, *([final] if final else [])])
    first = found.first_difference
    if first is None and follows:
        verdict: Verdict = "REPRODUCED"
        reason = describe_equal(found)
    elif first is not None:
        verdict = "DRIFTED"
        reason = f"step {first.step} is the first that differs: {first.differences[0].where}"
    else:
        verdict, reason = "DRIFTED", "the submission that counts differs"
    any_score = bool(final or submissions)
    if verdict == "DRIFTED" and any_score and follows:
        reason += "; the score follows from the code all the same"
    return replace(
        found,
        verdict=verdict,
        reason=reason,
        score_follows=follows if any_score else None,
    )


def describe_equal(found: Verification) -> str:
    """Describe in one line what is equal."""
    parts = []
    if found.compared:
        counts = {
            text: sum(step.outputs == sameness for step in found.compared)
            for sameness, text in (
                ("equal", "equal"),
                ("masked", "equal after masking"),
                ("not compared", "not compared"),
            )
        }
        said = ", ".join(f"{text} in {count}" for text, count in counts.items() if count)
        parts.append(f"outputs of {len(found.compared)} steps: {said}")
    parts.append(describe_final(found.final))
    return "; ".join(parts)


def describe_final(final: SubmissionComparison | None) -> str:
    """Describe in one line how the submission that counts was reproduced."""
    if final is None or final.public is None:
        return "no submission counts"
    if final.same_bytes:
        return "the submission that counts has the same bytes and the same score"
    return (
        "the submission that counts has other bytes, and a score within the tolerance of"
        f" {final.public.tolerance:g}"
    )
