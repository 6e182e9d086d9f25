"""One agent on one task with one kernel: `act(action)` returns a `Step`.

    async with open_episode("adult-income") as episode:
        step = await episode.act(ExecuteCode(code="1 + 1"))
        print(episode.observation.text)

The state of an episode is its list of steps. The only other state is the kernel in which the
next cell runs, and the clock.
"""

import asyncio
import itertools
import warnings
from collections.abc import Mapping
from contextlib import AsyncExitStack
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
from kernel_env.episode.branching import fork_each
from kernel_env.episode.budget import Spent
from kernel_env.episode.earning import charged, final_reward
from kernel_env.episode.endings import status_of
from kernel_env.episode.feedback import provider_of, with_remark
from kernel_env.episode.journal import Journal
from kernel_env.episode.machine import Machine, describe_machine
from kernel_env.episode.notebook import NOTEBOOK
from kernel_env.episode.observation import Observation, first_observation, history, observe
from kernel_env.episode.result import EpisodeResult, result_of
from kernel_env.episode.setup import EpisodeSetup
from kernel_env.episode.shared_grader import SharedGrader
from kernel_env.episode.step import (
    Actor,
    CellExecuted,
    CodeValidated,
    InfoShown,
    KernelReset,
    Outcome,
    Progress,
    Step,
)
from kernel_env.episode.submissions import Submissions
from kernel_env.episode.trajectory import Ending, Note, NoteKind, Status
from kernel_env.episode.turns import Turns
from kernel_env.episode.write_ending import end_journal, write_files
from kernel_env.errors import EpisodeOver, ModelError, UsageError
from kernel_env.kernel.connection.running_cell import Observer
from kernel_env.kernel.forking.checkpoints import CheckpointLimits
from kernel_env.kernel.forking.fork_server import LimitedKernelWarning
from kernel_env.kernel.forking.trial import NOTE
from kernel_env.kernel.recoverable import RecoverableKernel
from kernel_env.sandbox.protocol import DATA
from kernel_env.tasks.info import InfoType
from kernel_env.tasks.info import info as task_info
from kernel_env.untrusted_text import clipped, escape_line

NOTE_CHARACTERS = 64 * 1024
"""Limit of a note; of a longer one head and tail are kept."""


class Episode:
    """The work of an agent on one task, from a fresh kernel to the end of its budget."""

    def __init__(
        self,
        setup: EpisodeSetup,
        journal: Journal,
        shared: SharedGrader,
        kernel: RecoverableKernel | None = None,
    ) -> None:
        self.setup = setup
        self.steps = journal
        self.progress = Progress(higher_is_better=setup.task.scoring.higher_is_better)
        self.latest: Step | None = None
        """The agent's latest step."""
        self.shared = shared.join(setup.folder)
        limits = setup.budget
        self.kernel = kernel or RecoverableKernel(
            setup.kernels,
            CheckpointLimits(count=limits.checkpoints, memory_gb=limits.checkpoint_gb),
        )
        self._missing = ""
        self.machine: Machine | None = None
        self.submissions = Submissions(setup, shared.grader)
        """The graded submissions, with their private grades: not for agents."""
        self.turns = Turns()
        self.closing = AsyncExitStack()
        """What is closed when the episode ends; the kernel is the last."""
        self.closing.push_async_callback(lambda: self.kernel.close())
        self.charges = Spent()
        """What was charged since the latest step."""
        self.provider = provider_of(self)
        """Who comments on the agent's steps; None for nobody."""
        self._forks = itertools.count()

    # ── state ─────────────────────────────────────────────────────────────────────────────

    @property
    def folder(self) -> Path:
        """Return the folder of journal, notebook and submissions."""
        return self.setup.folder

    @property
    def notebook(self) -> Path:
        """Return the path of the notebook, which is complete once the episode has ended."""
        return self.folder / NOTEBOOK

    @property
    def family(self) -> tuple[Path, ...]:
        """Return the folders of the first episode and of all its forks."""
        return tuple(self.shared.folders)

    @property
    def result(self) -> EpisodeResult | None:
        """Return the result; None before the episode has ended."""
        ended = self.steps.ending is not None
        return result_of(self.steps.trajectory, self.notebook) if ended else None

    @property
    def record(self) -> EpisodeResult | None:
        """Return `result`, by its name of version 0.1."""
        return self.result

    @property
    def rules(self) -> EpisodeSetup:
        """Return `setup`, by its name of version 0.1."""
        return self.setup

    @property
    def observation(self) -> Observation:
        """Return what the agent sees now."""
        if self.latest is None:
            return self.opening
        return observe(self.latest, self.progress, self.setup.budget)

    @property
    def opening(self) -> Observation:
        """Return what the agent saw before its first step."""
        return first_observation(
            self.info("overview"),
            self.machine_text,
            self.info("data_path"),
            self.info("output_path"),
            self.setup.budget,
            self.rules_text,
        )

    @property
    def rules_text(self) -> str:
        """Describe what the agent learns about its scores, and which submission counts."""
        return self.setup.config.protocol.describe(self.setup.budget.submissions)

    @property
    def machine_text(self) -> str:
        """Describe what the agent's code runs on: cores, memory, GPUs, libraries."""
        return self.machine.text if self.machine else ""

    @property
    def over(self) -> str | None:
        """Return which limit of the budget is reached; None while none is."""
        return self.setup.budget.exhausted(self.spent)

    @property
    def spent(self) -> Spent:
        """Return what the agent has used until now, charges since its last step included."""
        return replace(
            self.progress.spent.plus(self.charges),
            seconds=self.turns.seconds,
            waited_seconds=self.turns.queued_seconds,
        )

    # ── the only method that changes an episode ───────────────────────────────────────────

    async def act(
        self,
        action: Action | Mapping[str, Any] | str,
        *,
        thought: str = "",
        actor: Actor = "agent",
        observe: Observer | None = None,
    ) -> Step:
        """Carry out an action and record it.

        Actions wait for each other. A person's is not charged to the budget, has no reward, and is
        cancelled when the episode ends; its submission is graded and does not count. The agent
        reads what it changed in its next observation.

        Args:
            action: an action or its JSON form.
            thought: the actor's reasoning before the action; it is recorded.
            actor: `human` for a person who acts in the agent's episode.
            observe: called with each message of a cell as it arrives.

        Raises:
            ActionError: it is not a valid action; nothing has happened.
            EpisodeOver: the budget is used up, or the episode has ended.
            SandboxError, KernelError: the machine failed; earlier steps are safe.
            TaskError: the task's metric failed.
        """
        action = json_codec.parse_action(action)
        async with self.turns.take(actor):
            if self.turns.ended:
                raise EpisodeOver("the episode has ended")
            if over := self.over:
                raise EpisodeOver(f"the episode is over: {over}")
            started = datetime.now(UTC).isoformat(timespec="milliseconds")
            stored_before = self.submissions.stored_bytes
            outcome = await self._outcome(action, actor, observe)
            step = Step(
                number=len(self.steps) + 1,
                action=action,
                outcome=outcome,
                thought=thought.encode(errors="replace").decode(),
                reward_reason="a person's step has no reward",
                started=started,
                spent=replace(self.progress.spent, seconds=self.turns.seconds),
                actor=actor,
            )
            if actor == "agent":
                spent = self.spent.plus(Spent(steps=1))
                step = await charged(step, spent, stored_before, self.progress, self.submissions)
                self.charges = Spent()  # they are in the step
                step = await with_remark(step, self.provider, self)
            progress = self.progress.after(step)
            try:
                await self.steps.append_in_thread(step)
            finally:
                if len(self.steps) == step.number:
                    self.submissions.record_step()
                    self.progress = progress
                    self.latest = step if actor == "agent" else self.latest
            return step

    def charge(
        self,
        *,
        tokens: int,
        money: float = 0.0,
        estimated: bool = False,
        prompt_tokens: int = 0,
        cached_tokens: int = 0,
    ) -> None:
        """Count what the agent used to decide: tokens, and US dollars if the price is known.

        With `estimated`, the tokens are a guess. Those that were sent are `prompt_tokens`, those of
        them that the endpoint had cached are `cached_tokens`; 0: unknown.
        """
        charge = Spent(tokens=tokens, money=money, estimated_tokens=tokens * estimated)
        more = Spent(prompt_tokens=prompt_tokens, cached_tokens=cached_tokens)
        self.charges = self.charges.plus(charge).plus(more)

    def note(self, kind: NoteKind, text: str, *, reason: str = "") -> None:
        """Record what the agent read or said beside its actions; see `Note`.

        Raises `SandboxError`.
        """
        valid = clipped(text, NOTE_CHARACTERS).encode(errors="replace").decode()
        with self.steps.adding:  # otherwise a step that is being written would come between
            after = len(self.steps)
            note = Note(kind=kind, text=valid, after_step=after, spent=self.spent)
            self.steps.add_note(replace(note, reason=escape_line(reason)))

    async def _outcome(self, action: Action, actor: Actor, observe: Observer | None) -> Outcome:
        timeout_s = self._cell_seconds(actor)
        match action:
            case ExecuteCode(code=code):
                step = len(self.steps) + 1
                run = self.kernel.run
                cell = await run(code, timeout_s=timeout_s, step=step, observe=observe)
                return CellExecuted(
                    cell=cell,
                    submission=await self.submissions.grade_if_changed(
                        self.kernel, step, self.progress, actor
                    ),
                )
            case ValidateCode(code=code):
                cell = await self.kernel.run_trial(code, timeout_s=timeout_s)
                return CodeValidated(cell=cell, note="" if self.kernel.forkable else NOTE)
            case RequestInfo(info_type=what):
                return InfoShown(text=self.info(what))
            case GetHistory(last=last):
                return InfoShown(text=history(self.steps[-last:]))
            case Reset():
                await self.kernel.reset(step=len(self.steps) + 1)
                self.submissions.clear(actor)
                return KernelReset()

    def info(self, what: InfoType) -> str:
        """Return what `request_info` would, without taking a step."""
        setup, guest_path = self.setup, self.kernel.sandbox.guest_path
        output = guest_path(setup.task.submission_path)
        public, limits = setup.prepared.public, asdict(setup.budget)
        machine = self.machine.metadata() if self.machine else {}
        return task_info(setup.task, public, guest_path(DATA), output, what, limits, machine)

    def _cell_seconds(self, actor: Actor) -> float:
        budget = self.setup.budget
        if actor == "human":
            return budget.cell_seconds
        return max(0.1, min(budget.cell_seconds, budget.seconds_left(self.spent)))

    # ── forks ─────────────────────────────────────────────────────────────────────────────

    async def fork(
        self, n: int = 1, *, at_step: int | None = None, reseed: bool | int = False
    ) -> list["Episode"]:
        """Return episodes that continue from here, or from after an earlier step.

        Each has its own kernel, workspace, trajectory and budget, earlier steps included; memory
        is shared until it is written to. Each must be left like an `open_episode`:
        `async with child: …`, or `await child.end()`. This episode can continue as well.

        Args:
            n: how many.
            at_step: the step after which they begin. If its checkpoint was evicted, cells are
                replayed; `setup.header.fork` says which of the two it was.
            reseed: give each its own random states; otherwise all draw the same numbers. A
                number is what they start from, to repeat the fork that recorded it.

        Raises:
            UsageError: there is no such step, or the episode has ended.
            SandboxError, KernelError: the machine failed; this episode is not affected.
        """
        async with self.turns.take("agent"):
            if self.steps.ending is not None:
                raise UsageError("the episode has ended; fork it before its last step")
            step = len(self.steps) if at_step is None else at_step
            if n < 1 or not 0 <= step <= len(self.steps):
                raise UsageError(
                    f"{n} forks at step {step} were requested; at least 1 fork, at a step from"
                    f" 0 to {len(self.steps)}"
                )
            numbers = [next(self._forks) for _ in range(n)]
            return await fork_each(self, step, numbers, reseed=reseed)

    async def continue_from(self, parent: "Episode") -> None:
        """Take over the state that the earlier steps, which are a parent's, have led to."""
        for step in self.steps:
            self.progress = self.progress.after(step)
            self.latest = step if step.actor == "agent" else self.latest
        spent = self.progress.spent
        self.turns.start_clock(spent.seconds, spent.waited_seconds)
        self.machine = parent.machine
        self._missing = self.kernel.limitations
        await self.submissions.take_over(parent.submissions, len(self.steps), self.kernel)

    # ── beginning and end ─────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Self:
        """Start sandbox and kernel; the clock of a new episode starts when they are ready."""
        try:
            await self.kernel.start()
            if self.machine is None:
                self.machine = await describe_machine(self.kernel.sandbox, self.setup)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        if not self.steps:
            self.turns.start_clock()
        self._missing = self.kernel.limitations
        if self._missing:
            message = f"on this machine, {self._missing}"
            warnings.warn(message, LimitedKernelWarning, stacklevel=3)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the episode with a status that says why."""
        match error:
            case None:
                over = self.over
                await self.end("budget" if over else "finished", over or "the agent was done")
            case asyncio.CancelledError() | KeyboardInterrupt() | GeneratorExit():
                await self.end("interrupted", "the operator stopped the episode")
            case _:
                pause = error.retry_after_s if isinstance(error, ModelError) else None
                reason = str(error) or type(error).__name__
                await self.end(status_of(error), reason, retry_after_s=pause)

    async def end(
        self,
        status: Status = "finished",
        reason: str = "the agent was done",
        *,
        retry_after_s: float | None = None,
    ) -> Ending:
        """End the kernel, and write the ending, the notebook and the result.

        Idempotent. Nothing that fails here is raised: the episode has an ending and a result, with
        the private score of the submission that counts. What could not be written is an
        `IncompleteRecordWarning`.
        """
        if self.steps.ending is None:
            stopped: BaseException | None = None
            try:
                await self.turns.end()
                await self.closing.aclose()
            except Exception as error:  # noqa: BLE001 - becomes part of the ending
                reason = f"{reason}; {error}"
            except (asyncio.CancelledError, KeyboardInterrupt) as error:
                stopped = error
            try:
                end_journal(self.steps, self._ending(status, reason, retry_after_s))
                await asyncio.to_thread(write_files, self.steps.trajectory, self.folder)
            finally:
                await self.shared.leave()
            if stopped is not None:
                raise stopped
        assert self.steps.ending is not None
        return self.steps.ending

    def _ending(self, status: Status, reason: str, retry_after_s: float | None) -> Ending:
        submissions, latest = self.submissions, self.latest
        chosen = submissions.chosen_step(self.progress)
        paid = latest is not None and self.setup.budget.exhausted(latest.spent)
        return Ending(
            status=status,
            reason=escape_line(reason),
            spent=self.spent,
            chosen_step=chosen,
            grade=submissions.grades[chosen] if chosen else None,
            missing=self._missing,
            reward=0.0 if paid else final_reward(self.progress, submissions),
            ended=datetime.now(UTC).isoformat(timespec="milliseconds"),
            retry_after_s=retry_after_s,
        )
