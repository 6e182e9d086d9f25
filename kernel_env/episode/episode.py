"""One agent, one task, one live kernel: `act(action) -> Step` is all there is to it.

    async with open_episode("adult-income") as episode:
        step = await episode.act(ExecuteCode(code="1 + 1"))
        print(episode.observation.text)

The episode's state is its list of steps. What looks like state here are the kernel that
the next cell will run in, and the clock.
"""

import asyncio
import hashlib
import json
import time
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kernel_env.episode import json_codec
from kernel_env.episode.actions import (
    Action,
    ExecuteCode,
    GetHistory,
    RequestInfo,
    Reset,
    ValidateCode,
)
from kernel_env.episode.budget import Spent
from kernel_env.episode.config import EpisodeConfig, branched, resolve_config
from kernel_env.episode.journal import JOURNAL, Journal
from kernel_env.episode.notebook import NOTEBOOK, write_notebook
from kernel_env.episode.observation import Feedback, Observation, history, observe, opening
from kernel_env.episode.result import RECORD, EpisodeResult, record
from kernel_env.episode.step import (
    CellExecuted,
    CodeValidated,
    Graded,
    InfoShown,
    KernelReset,
    Outcome,
    Progress,
    Rejected,
    Step,
)
from kernel_env.episode.submissions import Submissions
from kernel_env.episode.trajectory import Ending, Fork, Status
from kernel_env.errors import (
    AgentError,
    EpisodeOver,
    KernelError,
    SandboxError,
    TaskError,
    UsageError,
)
from kernel_env.grading import reward
from kernel_env.grading.host import Grader
from kernel_env.kernel.forking.checkpoints import CheckpointLimits
from kernel_env.kernel.forking.fork_server import LimitedKernelWarning
from kernel_env.kernel.forking.trial import NOTE
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.kernel.warm_pool import Pool
from kernel_env.sandbox.protocol import DATA
from kernel_env.tasks import Task
from kernel_env.tasks.info import InfoType
from kernel_env.tasks.info import info as about

MB = 1_000_000
SUBMISSIONS = "submissions"


class Episode:
    """An agent's work on one task, from a fresh kernel to the end of its budget."""

    def __init__(
        self,
        rules: EpisodeConfig,
        journal: Journal,
        family: "SharedGrader",
        live: RecoverableKernel | None = None,
    ) -> None:
        self.rules = rules
        self.steps = journal
        self.progress = Progress(higher_is_better=rules.task.scoring.higher_is_better)
        self.latest: Step | None = None
        self._family = family.join()
        limits = rules.budget
        self._live = live or RecoverableKernel(
            rules.kernels,
            CheckpointLimits(count=limits.checkpoints, memory_gb=limits.checkpoint_gb),
        )
        self._missing = ""
        self._submissions = Submissions(rules, family.grader)
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
    def record(self) -> EpisodeResult | None:
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
        action = json_codec.parse_action(action)
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
            self._submissions.step_taken()
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
                step = len(self.steps) + 1
                cell = await self._live.run(code, timeout_s=self._cell_seconds, step=step)
                return CellExecuted(
                    cell=cell, submission=await self._submissions.look(self._live, step)
                )
            case ValidateCode(code=code):
                cell = await self._live.run_trial(code, timeout_s=self._cell_seconds)
                return CodeValidated(cell=cell, note="" if self._live.forkable else NOTE)
            case RequestInfo(info_type=what):
                return InfoShown(text=self.info(what))
            case GetHistory(last=last):
                return InfoShown(text=history(self.steps[-last:]))
            case Reset():
                await self._live.reset(step=len(self.steps) + 1)
                self._submissions.forget()
                return KernelReset()

    def info(self, what: InfoType) -> str:
        """What `request_info` would tell, without taking a step."""
        rules, where = self.rules, self._live.sandbox.guest_path
        output = where(rules.task.submission_path)
        public = rules.prepared.public
        return about(rules.task, public, where(DATA), output, what, asdict(rules.budget))

    @property
    def _cell_seconds(self) -> float:
        left = self.rules.budget.seconds_left(self.spent)
        return max(0.1, min(self.rules.budget.cell_seconds, left))

    # ── grading ───────────────────────────────────────────────────────────────────────────

    def _reward(self, outcome: Outcome) -> tuple[float, str]:
        if not isinstance(outcome, CellExecuted):
            return 0.0, f"{outcome.kind} steps are never graded"
        match outcome.submission:
            case None:
                return 0.0, "no new submission"
            case Rejected():
                return 0.0, "the submission was refused"
            case Graded(grade=grade):
                best = self.progress.best.grade if self.progress.best else None
                earned = self.rules.reward(grade, best, self.rules.task.scoring.higher_is_better)
                return earned, self.rules.reward_title

    # ── branches ──────────────────────────────────────────────────────────────────────────

    async def fork(
        self, n: int = 1, *, at_step: int | None = None, reseed: bool = False
    ) -> list["Episode"]:
        """Episodes that go on from this moment, or from after an earlier step; this one may too.

        Each has its own kernel, workspace, trajectory and budget, the steps until then included;
        memory is shared until it is written to. Each is to be left like an `open_episode`:
        `async with child: …`, or `await child.end()`.

        Args:
            n: how many.
            at_step: the step after which they begin. Where its checkpoint is not kept any more,
                cells are run again; `rules.header.fork` says which of the two it was.
            reseed: give each its own random states; without it all draw the same numbers.

        Raises:
            UsageError: there is no such step.
            SandboxError, KernelError: the machine failed; this episode is not affected.
        """
        async with self._acting:
            step = len(self.steps) if at_step is None else at_step
            if n < 1 or not 0 <= step <= len(self.steps):
                raise UsageError(
                    f"{n} forks at step {step} were asked for; there must be at least one, at a"
                    f" step from 0 to {len(self.steps)}"
                )
            children: list[Episode] = []
            try:
                for number in range(n):
                    seed = seed_of(self.rules.header.episode, step, number) if reseed else None
                    children.append(await self._branch(step, seed))
            except BaseException:
                for child in children:
                    await child.end("machine_failed", "its siblings could not be made")
                raise
            return children

    async def _branch(self, step: int, seed: int | None) -> "Episode":
        branch = await self._live.fork(step=step, seed=seed)
        try:
            header = self.rules.header
            fork = Fork(
                episode=header.episode,
                step=step,
                how="replay" if branch.cells else "copy",
                cells=branch.cells,
                lost=branch.lost,
                seed=seed,
            )
            rules = branched(self.rules, fork)
            journal = Journal(rules.folder / JOURNAL, rules.header, begin=self.steps.lines(step))
            child = Episode(rules, journal, self._family, branch.kernel)
            await child._go_on(self._submissions)
        except BaseException:
            await branch.kernel.close()
            raise
        return child

    async def _go_on(self, parents: Submissions) -> None:
        """Stand where the steps that are there already lead to, and what they saw."""
        for step in self.steps:
            self.progress, self.latest = self.progress.after(step), step
        self._began -= self.progress.spent.seconds
        self._missing = self._live.limitations
        await self._submissions.go_on(parents, len(self.steps), self._live)

    # ── beginning and end ─────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Self:
        """Have the box and the kernel ready; the clock of a new episode starts then."""
        try:
            await self._live.start()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        if self.latest is None:
            self._began = time.monotonic()
        self._missing = self._live.limitations
        if self._missing:
            words = f"on this machine, {self._missing}"
            warnings.warn(words, LimitedKernelWarning, stacklevel=3)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the episode and say why."""
        match error:
            case None:
                over = self.over
                await self.end("budget" if over else "finished", over or "the agent was done")
            case asyncio.CancelledError() | KeyboardInterrupt() | GeneratorExit():
                await self.end("interrupted", "the operator stopped the episode")
            case _:
                await self.end(status_of(error), str(error) or type(error).__name__)

    async def end(self, status: Status = "finished", reason: str = "the agent was done") -> Ending:
        """End the kernel, grade the chosen submission on both splits, write ending and notebook.

        Whatever state things are in. May be called again, and does nothing then.
        """
        if self.steps.ending is None:
            try:
                await self._live.close()
            except (SandboxError, KernelError) as error:
                reason = f"{reason}; {error}"
            try:
                self.steps.end(await self._ending(status, reason))
            finally:
                self.steps.close()
                await asyncio.to_thread(self._write)
                await self._family.leave()
        assert self.steps.ending is not None
        return self.steps.ending

    async def _ending(self, status: Status, reason: str) -> Ending:
        best = self.progress.best
        return Ending(
            status=status,
            reason=reason,
            spent=self.spent,
            chosen_step=best.step if best else None,
            grade=await self._submissions.whole_grade(best.step) if best else None,
            missing=self._missing,
        )

    def _write(self) -> None:
        """The notebook, and the record beside it."""
        write_notebook(self.steps.trajectory, self.notebook)
        if found := self.record:
            (self.folder / RECORD).write_text(json.dumps(found.json(), indent=1) + "\n")


class SharedGrader:
    """What an episode and its branches share: the process that grades. The last one ends it."""

    def __init__(self, grader: Grader, stack: AsyncExitStack) -> None:
        """`stack` is closed with the last episode; it holds the grader unless that was lent."""
        self.grader, self._stack = grader, stack
        self._warming = asyncio.create_task(grader.warm_up())
        self._members = 0

    def join(self) -> Self:
        """One more."""
        self._members += 1
        return self

    async def leave(self) -> None:
        """One less."""
        self._members -= 1
        if not self._members:
            await asyncio.gather(self._warming, return_exceptions=True)
            await self._stack.aclose()


def output_bytes(outcome: Outcome) -> int:
    """About how many bytes of output a step adds to the record."""
    from kernel_env.kernel.connection.outputs import size_of

    if isinstance(outcome, CellExecuted | CodeValidated):
        return sum(size_of(o) for o in (*outcome.cell.outputs, *outcome.cell.late))
    return 0


def seed_of(episode: str, step: int, number: int) -> int:
    """A seed for the random states of a fork, other for each and the same each time."""
    digest = hashlib.sha256(f"{episode} {step} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


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
    branching: bool = True,
    grader: Grader | None = None,
    pool: Pool | None = None,
) -> AsyncIterator[Episode]:
    """An episode with a ready kernel; leaving it ends the box and writes the notebook.

    Args:
        task: a task's name, a task folder, or a `Task`.
        sandbox: `docker`, `local`, a plug-in's name, or `auto`.
        out: the episode gets a folder of its own below this one.
        budget: limits that replace the task's own; see `Budget`.
        reward: `position`, `raw`, `improvement`, `human_rank`, or a function.
        feedback: `public`, or `both` to tell the agent the private score as well.
        agent, model, seed: who plays, for the record.
        branching: let copies of the kernel have files of their own. It takes a seccomp profile
            that allows two calls more than Docker's default; without, trying code out holds
            everything else still, and a fork runs the cells again in a container of its own.
        grader: a grading process to share; without it the episode starts its own.
        pool: where to take a container from that was started ahead; see `Pool`.

    Raises:
        UsageError, TaskError, SandboxError, KernelError: before anything has begun.
    """
    rules = await asyncio.to_thread(
        resolve_config,
        task,
        sandbox=sandbox,
        out=Path(out),
        budget=budget or {},
        how=reward,
        feedback=feedback,
        agent=agent,
        model=model,
        seed=seed,
        branching=branching,
        pool=pool,
    )
    async with AsyncExitStack() as stack:
        journal = Journal(rules.folder / JOURNAL, rules.header)
        if grader is None:
            grader = await stack.enter_async_context(Grader())
        family = SharedGrader(grader, stack.pop_all())
    async with Episode(rules, journal, family) as episode:
        yield episode


def status_of(error: BaseException) -> Status:
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
