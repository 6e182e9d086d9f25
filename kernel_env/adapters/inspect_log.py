"""Write recorded episodes as logs of Inspect AI, which its viewer opens: `inspect view`.

The episodes of an agent, with its model, on a task are one log, and each is an epoch of its one
sample. A log has what the agent read and did, and its scores; forks are flattened, because the
viewer shows no branches. The extra `inspect` has the package.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kernel_env.episode import endings
from kernel_env.episode.journal import stream_journal
from kernel_env.episode.json_codec import action_json
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.episode.trajectory import Header
from kernel_env.errors import UsageError, needs_extra
from kernel_env.export.runs import Run, find_runs
from kernel_env.export.turns import Turn, opening, turns
from kernel_env.untrusted_text import without_html

with needs_extra(__name__, "inspect"):
    from inspect_ai._util.error import EvalError
    from inspect_ai.event import InfoEvent, ToolEvent
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalSample,
        EvalScore,
        EvalSpec,
        EvalStats,
        write_eval_log,
    )
    from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, ChatMessageUser, ModelUsage
    from inspect_ai.scorer import Score
    from inspect_ai.tool import ToolCall

SCORES = ("private", "place", "reward")
"""The scores of a sample: private score, share of the private leaderboard beaten, reward."""
UNSAFE = str.maketrans(dict.fromkeys('/\\:*?"<>| \t\n', "-"))


def write_logs(
    paths: Iterable[Path], out: Path, *, skip: Callable[[Path, str], None] = lambda *_: None
) -> list[Path]:
    """Write the ended runs at or below some paths as logs; return their files.

    Args:
        paths: journals, folders of runs, or folders above them.
        out: the folder for the logs, which is made.
        skip: called with the path and the reason for each run that is left out.

    Raises `UsageError` for a path without a run, and if a log exists already.
    """
    groups: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in find_runs(paths, skip):
        if run.ending is None:
            skip(run.journal, "it has not ended")
            continue
        groups[run.header.task, run.header.agent or "program", run.header.model].append(run)
    if not groups:
        raise UsageError("there is no run that has ended")
    made = []
    out.mkdir(parents=True, exist_ok=True)
    for name, runs in groups.items():
        file = out / f"{'_'.join(filter(None, name)).translate(UNSAFE)}.eval"
        if file.exists():
            raise UsageError(f"{file} exists already; choose another folder with --out")
        write_eval_log(log_of(runs), file, format="eval")
        made.append(file)
    return made


def log_of(runs: Sequence[Run]) -> EvalLog:
    """Return the episodes of one agent on one task as a log."""
    header = runs[0].header
    samples = [sample_of(run, number + 1) for number, run in enumerate(runs)]
    began, ended = samples[0].started_at or "", samples[-1].completed_at or ""
    model = header.model or "none/none"
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=began,
            task=f"kernel_env/{header.task}",
            task_id=runs[0].digest,
            run_id=header.episode,
            eval_id=header.episode,
            task_version=header.task_version,
            solver=header.agent or "program",
            dataset=EvalDataset(name=header.task, samples=1, sample_ids=[header.task]),
            model=model if "/" in model else f"kernel_env/{model}",
            config=EvalConfig(epochs=len(runs)),
            packages={"kernel-env": header.version},
        ),
        results=EvalResults(
            total_samples=len(runs),
            completed_samples=sum(sample.error is None for sample in samples),
            scores=[score for name in SCORES if (score := mean_of(name, samples))],
        ),
        stats=EvalStats(started_at=began, completed_at=ended),
        samples=samples,
    )


def mean_of(name: str, samples: Sequence[EvalSample]) -> EvalScore | None:
    """Return the mean of a score over the samples that have it; None if none has."""
    values = [sample.scores[name].value for sample in samples if name in (sample.scores or {})]
    if not values:
        return None
    metric = EvalMetric(name="mean", value=sum(values) / len(values))
    return EvalScore(
        name=name,
        scorer=name,
        scored_samples=len(values),
        unscored_samples=len(samples) - len(values),
        metrics={"mean": metric},
    )


def sample_of(run: Run, epoch: int) -> EvalSample:
    """Return an episode as a sample."""
    header, ending = run.header, run.ending
    assert ending is not None
    messages: list[Any] = []
    events: list[Any] = []
    reward = ending.reward
    for entry in turns(run):
        if isinstance(entry, Turn):
            messages += messages_of(entry)
            events += events_of(entry)
            reward += entry.step.reward
        elif entry.kind == "last_words":
            messages.append(ChatMessageAssistant(content=without_html(entry.text)))
    first = without_html(opening(header_of(run)))
    values = {"private": run.score, "place": run.place, "reward": reward}
    spent = ending.spent
    usage = ModelUsage(
        input_tokens=spent.prompt_tokens,
        output_tokens=max(0, spent.tokens - spent.prompt_tokens),
        total_tokens=spent.tokens,
        input_tokens_cache_read=spent.cached_tokens,
        total_cost=spent.money,
    )
    return EvalSample(
        id=header.task,
        epoch=epoch,
        uuid=header.episode,
        input=first,
        target="",
        messages=[ChatMessageUser(content=first), *messages],
        scores={name: Score(value=each) for name, each in values.items() if each is not None},
        events=events,
        model_usage={header.model: usage} if header.model else {},
        started_at=moment(header.started).isoformat(),
        completed_at=moment(ending.ended or header.started).isoformat(),
        total_time=ending.spent.seconds,
        error=None if endings.counts(ending.status) else error_of(ending.reason),
        metadata={
            "episode": header.episode,
            "seed": header.seed,
            "status": ending.status,
            "reason": ending.reason,
            "notebook": str(run.journal.with_name(NOTEBOOK)),
            "parent": header.fork.episode if header.fork else None,
            "parent_step": header.fork.step if header.fork else None,
        },
    )


def header_of(run: Run) -> Header:
    """Return the header of a run with the task's description."""
    header = next(stream_journal(run.journal))
    assert isinstance(header, Header)
    return header


def error_of(reason: str) -> EvalError:
    """Return why an episode says nothing about its agent."""
    return EvalError(message=reason, traceback=reason, traceback_ansi=reason)


def messages_of(turn: Turn) -> Iterator[Any]:
    """Yield the agent's message with its call, and the reply."""
    call = call_of(turn)
    yield ChatMessageAssistant(content=without_html(turn.step.thought), tool_calls=[call])
    yield ChatMessageTool(content=turn.after, tool_call_id=call.id, function=call.function)


def events_of(turn: Turn) -> Iterator[Any]:
    """Yield the events of a turn: the call, and what it earned."""
    call, began = call_of(turn), moment(turn.step.started)
    yield ToolEvent(
        id=call.id,
        function=call.function,
        arguments=call.arguments,
        result=turn.after,
        timestamp=began,
        failed=bool(turn.step.cell and turn.step.cell.error) or None,
    )
    if turn.step.reward:
        earned = {"reward": turn.step.reward, "why": turn.step.reward_reason}
        yield InfoEvent(source="reward", data=earned, timestamp=began)


def call_of(turn: Turn) -> ToolCall:
    """Return the action of a turn as a call."""
    arguments = action_json(turn.step.action)
    kind = arguments.pop("kind")
    return ToolCall(id=f"call_{turn.step.number}", function=kind, arguments=arguments)


def moment(started: str) -> datetime:
    """Return when a step began; the beginning of time if the journal has no valid time."""
    try:
        found = datetime.fromisoformat(started)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
