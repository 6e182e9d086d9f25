"""Run random actions on a tree of episodes and compare every episode with its model."""

import asyncio
import copy
import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import ExecuteCode, GetHistory, RequestInfo, Reset, ValidateCode
from kernel_env.episode.step import CellExecuted, CodeValidated, Graded, KernelReset, Rejected, Step
from kernel_env.kernel.cell import Cell
from kernel_env.kernel.connection import client
from kernel_env.kernel.forking.fork_server import ForkServer
from kernel_env.kernel.recoverable import RecoverableKernel
from support.episode_model.actions import (
    ACTIONS,
    DOCKER_ONLY,
    FAULTS,
    HANGS,
    MAX_EPISODES,
    DrawnAction,
)
from support.episode_model.state import (
    SUBMISSION,
    SUMMARIZE,
    State,
    TinyTask,
    apply_edit,
    summary_of,
)
from support.kernels import (
    checkpoint_taken,
    container_of,
    first_seed,
    kernel_of,
    running_kernel,
    standby_pids,
)

BUDGET = {
    "steps": 10**9,
    "seconds": 10**9,
    "output_bytes": 10**12,
    "checkpoints": 3,  # few, so that most forks at an earlier step replay cells
}
SHORT_S = 0.7
"""Time limit of cells that are to exceed it."""
IMPORTS = "import os, random, shutil, time\n"


@dataclass
class Node:
    """An episode and its model."""

    episode: Episode
    state: State
    """What it should contain now. A state is never changed once it is in a history."""
    states: list[State]
    """The states after 0, 1, 2, … steps."""
    scores: list[float | None]
    """The score of each step."""
    graded: bytes | None = None
    """The submission that was last looked at."""
    graded_after: list[bytes | None] = field(default_factory=lambda: [None])
    """The same after 0, 1, 2, … steps."""
    killed: bool = False
    """Whether another episode or the test has killed its kernel since its last cell."""

    @property
    def kernel(self) -> RecoverableKernel:
        """Return the kernel of the episode."""
        return kernel_of(self.episode)

    @property
    def server(self) -> ForkServer:
        """Return the fork server; episodes with the same one share a container."""
        return self.kernel.server


class EpisodeTree(RuleBasedStateMachine):
    """A tree of episodes under random actions."""

    sandbox: ClassVar[str]
    task: ClassVar[str]
    out: ClassVar[Path]
    action_count: ClassVar[int] = 0
    kinds: ClassVar[dict[str, int]] = {}
    """Number of actions by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.nodes: list[Node] = []
        self.check_due = False
        self.opened: Any = None
        self.tiny: Any = None

    # One rule for all actions: of several, Hypothesis would leave out some in each example, and
    # there are only few examples.
    @rule(action=ACTIONS)
    def act(self, action: DrawnAction) -> None:
        if action.kind == "nothing" or (self.sandbox == "local" and action.kind in DOCKER_ONLY):
            return
        if not self.nodes:
            self.runner.run(self._open())
        type(self).action_count += 1
        self.kinds[action.kind] = self.kinds.get(action.kind, 0) + 1
        self.runner.run(self._act(action))
        self.check_due = True

    @invariant()
    def every_kernel_and_every_file_is_as_in_the_model(self) -> None:
        if self.check_due:
            self.check_due = False
            self.runner.run(self._check())

    def teardown(self) -> None:
        async def end_all() -> None:
            for node in self.nodes[1:] + self.nodes[:1]:
                await self._end(node)

        try:
            self.runner.run(end_all())
        finally:
            self.runner.close()

    async def _open(self) -> None:
        opened = open_episode(self.task, sandbox=self.sandbox, out=self.out, budget=BUDGET)
        episode = await opened.__aenter__()
        self.opened = opened  # `end` ends an episode; the context must not be collected before
        seed = first_seed(kernel_of(episode))
        self.pristine = State(random_state=random.Random(seed).getstate())
        self.tiny = TinyTask(episode)
        self.nodes.append(Node(episode, self.pristine, [self.pristine], []))

    async def _check(self) -> None:
        async def check(node: Node) -> None:
            cell = await self._execute(node, SUMMARIZE, node.state)
            assert summary_of(cell) == node.state.summary(), node.episode.setup.header

        results = await asyncio.gather(*map(check, self.nodes), return_exceptions=True)
        for error in results:
            if error is not None:
                raise error

    # ── actions ───────────────────────────────────────────────────────────────────────────

    async def _act(self, action: DrawnAction) -> None:
        node = self.nodes[action.index % len(self.nodes)]
        note(f"{node.episode.setup.header.episode}, step {len(node.episode.steps) + 1}")
        match action.kind:
            case "execute":
                state, code = self._cell(node, action)
                await self._execute(node, code, state)
            case "error":
                state, code = self._cell(node, action)
                cell = await self._execute(node, code + "\nraise ValueError(1)", state)
                assert cell.error is not None
                assert cell.error.name == "ValueError"
            case "time":
                state, code = self._cell(node, action)
                with time_limits(node.episode, SHORT_S):
                    cell = await self._execute(node, code + "\nwhile True: pass", state)
                assert cell.timed_out
            case kind if kind in FAULTS:
                await self._crash(node, action, FAULTS[kind])
            case kind if kind in HANGS:
                with time_limits(node.episode, SHORT_S, interrupt_s=0.3):
                    await self._crash(node, action, HANGS[kind])
            case "standby and exit":
                await checkpoint_taken(node.kernel)
                pids = standby_pids(node.kernel)[-1 - action.number % 3 :]
                kills = [f"os.kill({pid}, 9)" for pid in pids if await is_running(node, pid)]
                await self._crash(node, action, "\n".join([*kills, "os._exit(4)"]))
            case "container":
                await self._kill_container(node)
            case "kill kernel" | "kill standby" | "kill template":
                await self._kill(node, action)
            case "validate" | "validate error" | "validate exit":
                await self._validate(node, action)
            case "look":
                for look in (RequestInfo(info_type="name"), GetHistory(last=2)):
                    self._record(node, await node.episode.act(look), node.state)
            case "reset":
                step = await node.episode.act(Reset())
                assert isinstance(step.outcome, KernelReset)
                node.killed, node.graded = False, None
                self._record(node, step, self.pristine)
            case "fork" | "fork reseeded" | "fork earlier":
                await self._fork(node, action)
            case "end":
                if len(self.nodes) > 1:
                    self.nodes.remove(node)
                    await self._end(node)

    def _cell(self, node: Node, action: DrawnAction) -> tuple[State, str]:
        """Return the state after a cell with the edits of an action, and the cell."""
        state = copy.deepcopy(node.state)
        lines = [apply_edit(state, edit, self.tiny) for edit in action.edits]
        return state, IMPORTS + "\n".join(lines)

    async def _execute(self, node: Node, code: str, state: State) -> Cell:
        """Run a cell after which the kernel should contain `state`."""
        step = await node.episode.act(ExecuteCode(code=code))
        assert isinstance(step.outcome, CellExecuted)
        cell = step.outcome.cell
        assert cell.broke is None, cell
        self._check_recovery(node, cell)
        self._record(node, step, state)
        return cell

    async def _crash(self, node: Node, action: DrawnAction, fault: str) -> None:
        """Run a cell with edits that then crashes the kernel: all edits must be undone."""
        _, code = self._cell(node, action)
        sharing = [other for other in self.nodes if other.server is node.server]
        step = await node.episode.act(ExecuteCode(code=f"{code}\n{fault}"))
        assert isinstance(step.outcome, CellExecuted)
        cell = step.outcome.cell
        assert cell.broke is not None, cell
        assert cell.recovery is not None
        assert cell.recovery.lost == "", cell.recovery
        self._record(node, step, node.state)
        if fault == FAULTS["all"]:
            await asyncio.sleep(0.3)  # until the deaths are noticed
            for other in sharing:  # Landlock can keep the signal from some kernels
                running = running_kernel(other.kernel)
                other.killed |= running is None or running.death_reason is not None
        node.killed = False

    def _check_recovery(self, node: Node, cell: Cell) -> None:
        """Require a recovery if and only if the kernel had been killed."""
        if node.killed:
            assert cell.recovery is not None
            assert cell.recovery.before
            assert cell.recovery.lost == "", cell.recovery
        else:
            assert cell.recovery is None, cell.recovery
        node.killed = False

    def _record(self, node: Node, step: Step, state: State) -> None:
        """Record a step, and compare its grade with the submission in the model."""
        assert step.state_lost is None
        node.state = state
        score = None
        if isinstance(step.outcome, CellExecuted):
            content, before = state.files.get(SUBMISSION), node.graded
            node.graded = content
            if content is None or content == before:
                assert step.submission is None, step.submission
            elif content.startswith(b"id"):
                assert isinstance(step.submission, Graded), step.submission
                assert step.submission.sha256 == hashlib.sha256(content).hexdigest()
                score = step.submission.grade.public_score
                assert self.tiny.scores.setdefault(content, score) == score
            else:
                assert isinstance(step.submission, Rejected), step.submission
        node.scores.append(score)
        node.states.append(state)
        node.graded_after.append(node.graded)
        assert len(node.states) == len(node.episode.steps) + 1

    async def _validate(self, node: Node, action: DrawnAction) -> None:
        """Run a trial, which may end with an error or a crash: all of it must be undone."""
        state, code = self._cell(node, action)
        endings = {"error": "raise ValueError(2)", "exit": "os._exit(5)"}
        _, _, ending = action.kind.partition(" ")
        step = await node.episode.act(ValidateCode(code=code + SUMMARIZE + endings.get(ending, "")))
        assert isinstance(step.outcome, CodeValidated)
        cell = step.outcome.cell
        self._check_recovery(node, cell)
        assert (cell.broke is not None) == (ending == "exit"), cell
        if ending != "exit":  # the output of a kernel that exits can be lost
            assert summary_of(cell) == state.summary()
            assert (cell.error is not None) == (ending == "error"), cell.error
        self._record(node, step, node.state)

    async def _kill(self, node: Node, action: DrawnAction) -> None:
        """Kill a process of the same sandbox, from outside every kernel."""
        victims = [other for other in self.nodes if other.server is node.server]
        victim = victims[action.number % len(victims)]
        await checkpoint_taken(victim.kernel)
        match action.kind:
            case "kill kernel":
                kernel = running_kernel(victim.kernel)
                pid = kernel.process.pid if kernel is not None and not kernel.death_reason else None
            case "kill standby":
                pids = standby_pids(victim.kernel)
                pid = pids[-1 - action.number // 4 % len(pids)] if pids else None
            case _:
                template = node.server.template
                pid = template.pid if template is not None else None
        if pid is None or not await is_running(node, pid):
            return
        done = await node.kernel.sandbox.run(["sh", "-c", f"kill -9 {pid}"], timeout_s=60)
        assert done.exit_code == 0, done.output
        if action.kind == "kill kernel":
            victim.killed = True
            await wait_for_death(victim)

    async def _kill_container(self, node: Node) -> None:
        sharing = [other for other in self.nodes if other.server is node.server]
        for other in sharing:
            await checkpoint_taken(other.kernel)
        await asyncio.to_thread(container_of(node.kernel).kill)
        for other in sharing:
            other.killed = True
            await wait_for_death(other)

    async def _fork(self, node: Node, action: DrawnAction) -> None:
        room = MAX_EPISODES - len(self.nodes)
        if not room:
            ended = self.nodes.pop(action.number % len(self.nodes))
            await self._end(ended)
            room = 1
            if ended is node:
                return
        latest = len(node.episode.steps)
        earlier = action.kind == "fork earlier"
        step = max(0, latest - 1 - action.number) if earlier else latest
        reseed = action.kind == "fork reseeded" or action.number % 7 == 1
        count = min(room, 1 + action.number % 2)
        children = await node.episode.fork(count, at_step=step if earlier else None, reseed=reseed)
        node.killed = False
        assert len(children) == count
        for child in children:
            fork = child.setup.header.fork
            assert fork is not None
            assert (fork.episode, fork.step) == (node.episode.setup.header.episode, step)
            assert fork.lost == ""
            assert (fork.seed is not None) == reseed
            states = node.states[: step + 1]
            if reseed:
                random_state = random.Random(fork.seed).getstate()
                states[-1] = replace(copy.deepcopy(states[-1]), random_state=random_state)
            graded_after = node.graded_after[: step + 1]
            self.nodes.append(
                Node(child, states[-1], states, node.scores[:step], graded_after[-1], graded_after)
            )

    async def _end(self, node: Node) -> None:
        ending = await node.episode.end()
        assert ending.status == "finished", ending
        best = min(
            ((score, step) for step, score in enumerate(node.scores, 1) if score is not None),
            default=(None, None),
        )
        assert (ending.grade and ending.grade.public_score, ending.chosen_step) == best


async def is_running(node: Node, pid: int) -> bool:
    """Return whether a process ID in the sandbox still belongs to a forked process."""
    done = await node.kernel.sandbox.run(["cat", f"/proc/{pid}/cmdline"], timeout_s=10)
    return b"boot.py" in done.output


async def wait_for_death(node: Node) -> None:
    """Wait until the death of a kernel is noticed."""
    kernel = running_kernel(node.kernel)
    for _ in range(1000):
        if kernel is None or kernel.death_reason:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the kernel was killed and did not die in 10 s")


@contextmanager
def time_limits(episode: Episode, cell_s: float, interrupt_s: float = 5.0) -> Iterator[None]:
    """Limit the time of a cell, and the time it has to end after the interrupt."""
    setup = episode.setup
    episode.setup = replace(setup, budget=replace(setup.budget, cell_seconds=cell_s))
    client.INTERRUPT_S = interrupt_s
    try:
        yield
    finally:
        episode.setup, client.INTERRUPT_S = setup, 5.0
