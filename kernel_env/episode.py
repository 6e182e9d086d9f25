"""One agent, one task, one live kernel: `act(action) -> Step` is all there is to it.

    async with open_episode("adult-income") as episode:
        step = await episode.act(ExecuteCode(code="1 + 1"))
        print(episode.observation.text)

The episode's state is its list of steps. What looks like state here are the box and
the kernel that the next cell will run in, and the clock.
"""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kernel_env import codec
from kernel_env.action import (
    Action,
    ExecuteCode,
    GetHistory,
    InfoType,
    RequestInfo,
    Reset,
    ValidateCode,
)
from kernel_env.budget import Budget, Spent
from kernel_env.errors import (
    AgentError,
    EpisodeOver,
    KernelError,
    SandboxError,
    SubmissionError,
    TaskError,
    UsageError,
)
from kernel_env.grading import leaderboard, reward
from kernel_env.grading.grade import Grade
from kernel_env.grading.process import Grader, Scores
from kernel_env.kernel.launch import PROGRAM, PROGRAM_FOLDER
from kernel_env.kernel.live import Live
from kernel_env.kernel.scratch import NOTE
from kernel_env.observation import Feedback, Observation, history, observe, opening
from kernel_env.record import RECORD, Record, record
from kernel_env.sandbox.base import DATA, FileStat, Sandbox, Spec
from kernel_env.sandbox.choose import choose
from kernel_env.step import (
    Checked,
    Graded,
    Outcome,
    Progress,
    Ran,
    Refused,
    Restarted,
    Step,
    Told,
)
from kernel_env.tasks import Task, catalog
from kernel_env.tasks.info import info as about
from kernel_env.tasks.prepare import Prepared, marking, prepare
from kernel_env.trajectory import JOURNAL, NOTEBOOK, Ending, Header, Journal, Status, write_notebook

MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Everything that is decided before an episode begins."""

    task: Task
    prepared: Prepared
    budget: Budget
    reward: reward.Reward
    reward_title: str
    """What the reward is, for a reader."""
    feedback: Feedback
    make_sandbox: Callable[[], Sandbox]
    folder: Path
    """Where the journal, the notebook and the submissions go."""


class Episode:
    """An agent's work on one task, from a fresh kernel to the end of its budget."""

    def __init__(self, rules: Rules, journal: Journal, grader: Grader) -> None:
        self.rules = rules
        self.steps = journal
        self.progress = Progress(higher_is_better=rules.task.scoring.higher_is_better)
        self.latest: Step | None = None
        self._grader = grader
        paths = {"DATA_PATH": DATA, "OUTPUT_PATH": rules.task.submission_path}
        self._live = Live(rules.make_sandbox, paths)
        self._submission: FileStat | None = None
        self._seen_sha256 = ""
        self._began = time.monotonic()
        self._charged = Spent()
        self._acting = asyncio.Lock()

    # ── what is known ─────────────────────────────────────────────────────────────────────

    @property
    def folder(self) -> Path:
        """Where the journal and the notebook are."""
        return self.rules.folder

    @property
    def notebook(self) -> Path:
        """The trajectory as a notebook, complete once the episode has ended."""
        return self.folder / NOTEBOOK

    @property
    def record(self) -> Record | None:
        """How it went; None before it has ended."""
        ended = self.steps.ending is not None
        return record(self.steps.trajectory, self.notebook) if ended else None

    @property
    def observation(self) -> Observation:
        """What the agent sees now."""
        if self.latest is None:
            overview, data = self.info("overview"), self.info("data_path")
            return opening(overview, data, self.info("output_path"), self.rules.budget)
        return observe(self.latest, self.progress, self.rules.budget)

    @property
    def over(self) -> str | None:
        """Which limit of the budget is reached, in words; None while the episode goes on."""
        return self.rules.budget.exhausted(self.spent)

    @property
    def spent(self) -> Spent:
        """What has been used until now, what the agent was charged since its last step included."""
        done, charged = self.progress.spent, self._charged
        return replace(
            done,
            seconds=round(time.monotonic() - self._began, 3),
            tokens=done.tokens + charged.tokens,
            money=done.money + charged.money,
        )

    # ── the only method that changes an episode ───────────────────────────────────────────

    async def act(
        self,
        action: Action | Mapping[str, Any] | str,
        *,
        thought: str = "",
    ) -> Step:
        """Do one thing and remember it.

        Args:
            action: an action or its JSON form.
            thought: what the agent said before it acted; it goes into the record.

        Raises:
            ActionError: it is no action; nothing has happened.
            EpisodeOver: the budget is used up.
            SandboxError, KernelError: the machine failed; earlier steps are safe.
            TaskError: the task's metric failed.
        """
        action = codec.parse_action(action)
        async with self._acting:
            if over := self.over:
                raise EpisodeOver(f"the episode is over: {over}")
            started = datetime.now(UTC).isoformat(timespec="milliseconds")
            outcome = await self._outcome(action)
            earned, why = self._reward(outcome)
            step = Step(
                number=len(self.steps) + 1,
                action=action,
                outcome=outcome,
                thought=thought.encode(errors="replace").decode(),
                reward=earned,
                reward_reason=why,
                started=started,
                spent=replace(
                    spent := self.spent,
                    steps=spent.steps + 1,
                    output_bytes=spent.output_bytes + output_bytes(outcome),
                ),
            )
            self.steps.append(step)
            self.progress, self.latest = self.progress.after(step), step
            self._charged = Spent()
            return step

    def charge(self, *, tokens: int, money: float = 0.0) -> None:
        """Count what the agent used to decide: tokens, and US dollars where the price is known."""
        charged = self._charged
        self._charged = replace(
            charged, tokens=charged.tokens + tokens, money=charged.money + money
        )

    async def _outcome(self, action: Action) -> Outcome:
        match action:
            case ExecuteCode(code=code):
                cell = await self._live.run(code, timeout_s=self._cell_seconds)
                return Ran(cell=cell, submission=await self._grade_if_changed())
            case ValidateCode(code=code):
                cell = await self._live.try_out(code, timeout_s=self._cell_seconds)
                return Checked(cell=cell, note=NOTE)
            case RequestInfo(info_type=what):
                return Told(text=self.info(what))
            case GetHistory(last=last):
                return Told(text=history(self.steps[-last:]))
            case Reset():
                await self._live.reset()
                self._submission, self._seen_sha256 = None, ""
                return Restarted()

    def info(self, what: InfoType) -> str:
        """What `request_info` would tell, without taking a step."""
        rules, where = self.rules, self._live.box.where
        output = where(rules.task.submission_path)
        return about(rules.task, rules.prepared.public, where(DATA), output, what)

    @property
    def _cell_seconds(self) -> float:
        left = self.rules.budget.seconds_left(self.spent)
        return max(0.1, min(self.rules.budget.cell_seconds, left))

    # ── grading ───────────────────────────────────────────────────────────────────────────

    async def _grade_if_changed(self) -> Graded | Refused | None:
        """Grade what the cell left if it is not what was there before."""
        box = self._live.box
        path, limit = self.rules.task.submission_path, self.rules.task.file.submission.limit_mb
        try:
            found = await box.stat(path)
            if found == self._submission:
                return None
            self._submission = found
            if found is None or found.what != "file":
                self._seen_sha256 = ""
            if found is None:
                return None
            if found.what != "file":
                return Refused(
                    reason=f"{path.name} is a {found.what}; write a regular CSV file there"
                )
            data = await box.read(path, limit_bytes=int(limit * MB))
        except SandboxError:
            return None  # the box died with the cell; the cell says so
        except OSError as error:
            return Refused(reason=f"{path.name} cannot be read: {error.strerror or error}")
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 == self._seen_sha256:
            return None
        self._seen_sha256 = sha256
        splits: Any = ("Public", "Private") if self.rules.feedback == "both" else ("Public",)
        try:
            scores = await self._grader.grade(
                data, marking(self.rules.task, self.rules.prepared), splits
            )
        except SubmissionError as error:
            return Refused(reason=str(error))
        self._keep(len(self.steps) + 1, data)
        return Graded(grade=self._grade(scores), sha256=sha256)

    def _grade(self, scores: Scores) -> Grade:
        board, up = self.rules.task.leaderboard, self.rules.task.scoring.higher_is_better
        assert scores.public is not None
        return Grade(
            public_score=scores.public,
            public=leaderboard.place(scores.public, board.public, higher_is_better=up),
            private_score=scores.private,
            private=None
            if scores.private is None
            else leaderboard.place(scores.private, board.private, higher_is_better=up),
        )

    def _keep(self, step: int, data: bytes) -> None:
        path = self._submission_file(step)
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise SandboxError(f"{path} cannot be written: {error.strerror}") from error

    def _kept(self, step: int) -> bytes:
        path = self._submission_file(step)
        try:
            return path.read_bytes()
        except OSError as error:
            raise SandboxError(f"{path} cannot be read: {error.strerror}") from error

    def _submission_file(self, step: int) -> Path:
        return self.folder / "submissions" / f"step-{step:04d}.csv"

    def _reward(self, outcome: Outcome) -> tuple[float, str]:
        if not isinstance(outcome, Ran):
            return 0.0, f"{outcome.kind} steps are never graded"
        match outcome.submission:
            case None:
                return 0.0, "no new submission"
            case Refused():
                return 0.0, "the submission was refused"
            case Graded(grade=grade):
                best = self.progress.best.grade if self.progress.best else None
                earned = self.rules.reward(grade, best, self.rules.task.scoring.higher_is_better)
                return earned, self.rules.reward_title

    # ── beginning and end ─────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Have the box and the kernel ready; the clock starts then."""
        await self._live.start()
        self._began = time.monotonic()

    async def finish(self, status: Status, reason: str) -> Ending:
        """Grade the chosen submission on the private split and write the ending. Only once."""
        if self.steps.ending is None:
            best, chosen, grade = self.progress.best, None, None
            if best is not None:
                data = self._kept(best.step)
                scores = await self._grader.grade(
                    data, marking(self.rules.task, self.rules.prepared), ("Public", "Private")
                )
                chosen, grade = best.step, self._grade(scores)
            ending = Ending(
                status=status,
                reason=reason,
                spent=self.spent,
                chosen_step=chosen,
                grade=grade,
            )
            self.steps.end(ending)
        assert self.steps.ending is not None
        return self.steps.ending

    async def close(self) -> None:
        """End the kernel and the box."""
        await self._live.close()


def output_bytes(outcome: Outcome) -> int:
    """About how many bytes of output a step adds to the record."""
    from kernel_env.kernel.fold import size_of

    if isinstance(outcome, Ran | Checked):
        return sum(size_of(o) for o in (*outcome.cell.outputs, *outcome.cell.late))
    return 0


@asynccontextmanager
async def open_episode(
    task: str | Task,
    *,
    sandbox: str = "auto",
    out: Path | str = "runs",
    budget: Mapping[str, float | None] | None = None,
    reward: str | reward.Reward = "position",
    feedback: Feedback = "public",
    agent: str = "",
    model: str = "",
    seed: int = 0,
    grader: Grader | None = None,
) -> AsyncIterator[Episode]:
    """An episode with a ready kernel; leaving it ends the box and writes the notebook.

    Args:
        task: a task's name, a task folder, or a `Task`.
        sandbox: `docker`, `local`, a plug-in's name, or `auto`.
        out: the episode gets a folder of its own below this one.
        budget: limits that replace the task's own; see `Budget`.
        reward: `position`, `raw`, `improvement`, or a function.
        feedback: `public`, or `both` to tell the agent the private score as well.
        agent, model, seed: who plays, for the record.
        grader: a grading process to share; without it the episode starts its own.

    Raises:
        UsageError, TaskError, SandboxError, KernelError: before anything has begun.
    """
    rules, header = await asyncio.to_thread(
        rules_of, task, sandbox, Path(out), budget or {}, reward, feedback, agent, model, seed
    )
    async with AsyncExitStack() as stack:
        if grader is None:
            grader = await stack.enter_async_context(Grader())
        episode = Episode(
            rules, stack.enter_context(Journal(rules.folder / JOURNAL, header)), grader
        )
        stack.push_async_callback(episode.close)
        warming = asyncio.create_task(grader.warm_up())
        try:
            await episode.start()
            yield episode
        except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            await finish(episode, "interrupted", "the operator stopped the episode")
            raise
        except Exception as error:
            await finish(episode, status_of(error), str(error) or type(error).__name__)
            raise
        else:
            over = episode.over
            await finish(episode, "budget" if over else "finished", over or "the agent was done")
        finally:
            await asyncio.gather(warming, return_exceptions=True)


def status_of(error: Exception) -> Status:
    """Who failed."""
    match error:
        case SandboxError() | KernelError():
            return "machine_failed"
        case TaskError():
            return "task_failed"
        case AgentError():
            return "agent_failed"
        case EpisodeOver():
            return "budget"
    return "crashed"


async def finish(episode: Episode, status: Status, reason: str) -> None:
    """End the box, then write the ending and the notebook, whatever state things are in."""
    try:
        await episode.close()
    except SandboxError as error:
        reason = f"{reason}; {error}"
    try:
        await episode.finish(status, reason)
    finally:
        await asyncio.to_thread(write, episode)


def write(episode: Episode) -> None:
    """The notebook, and the record beside it."""
    write_notebook(episode.steps.trajectory, episode.notebook)
    if found := episode.record:
        (episode.folder / RECORD).write_text(json.dumps(found.json(), indent=1) + "\n")


def rules_of(
    task: str | Task,
    sandbox: str,
    out: Path,
    budget: Mapping[str, float | None],
    how: str | reward.Reward,
    feedback: Feedback,
    agent: str,
    model: str,
    seed: int,
) -> tuple[Rules, Header]:
    """Check everything that can be wrong before a box is started."""
    found = catalog.find(task) if isinstance(task, str) else task
    limits = found.budget.changed(budget)
    rewards = reward.find(how)
    if feedback not in ("public", "both"):
        raise UsageError(f"feedback is {feedback!r}; it must be 'public' or 'both'")
    name, make = choose(sandbox)
    prepared = prepare(found)
    started = datetime.now(UTC)
    episode = f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    folder = out.absolute() / found.id / episode
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from error
    spec = Spec(
        image=found.file.image,
        folders={DATA: prepared.public, PROGRAM: PROGRAM_FOLDER},
        memory_gb=found.file.limits.memory_gb,
        workspace_gb=found.file.limits.workspace_gb,
        cpus=found.file.limits.cpus,
    )
    header = Header(
        episode=episode,
        task=found.id,
        task_name=found.file.name,
        task_version=prepared.public.parent.name,
        description=found.description,
        metric=found.scoring.title,
        higher_is_better=found.scoring.higher_is_better,
        leaderboard_kind=found.leaderboard.kind,
        budget=limits,
        reward=how if isinstance(how, str) else getattr(how, "__name__", "custom"),
        feedback=feedback,
        sandbox=name,
        isolated=make.isolated,  # type: ignore[attr-defined]
        image=spec.image,
        agent=agent,
        model=model,
        seed=seed,
        started=started.isoformat(timespec="seconds"),
        version=version("kernel-env"),
    )
    rules = Rules(
        task=found,
        prepared=prepared,
        budget=limits,
        reward=rewards,
        reward_title=reward.title(rewards),
        feedback=feedback,
        make_sandbox=lambda: make(spec),
        folder=folder,
    )
    return rules, header
