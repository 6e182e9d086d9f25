"""Search a tree of forks: each node is a cell, and the live kernel after it.

The search proceeds in rounds. In each, a policy selects the nodes that are continued, as many as
fit; for each one the model writes a cell, the node's episode is forked, and the fork runs the cell.
Kernels of the worst nodes end when there are too many. All branches spend the budget of the first
episode, which in the end continues as the best branch, so that its record has the best public score
of the tree.
"""

import asyncio
import random
from dataclasses import dataclass, replace

from kernel_env.agents.openai.conversation import Turn, task_message
from kernel_env.agents.openai.model import ChatModel
from kernel_env.agents.tree import prompts
from kernel_env.agents.tree.memory import branches_that_fit, memory_limit, memory_used
from kernel_env.agents.tree.node import Move, Node, Stage, Tree
from kernel_env.agents.tree.policies import prunable, select_moves
from kernel_env.agents.tree.settings import Settings
from kernel_env.episode.actions import ExecuteCode
from kernel_env.episode.branching import act_in_branch, fast_forward
from kernel_env.episode.episode import Episode
from kernel_env.errors import AgentError, AgentSetupError, EpisodeOver, ModelError, UsageError

MAX_INVALID_ANSWERS = 3
"""Largest number of consecutive answers without a cell, after which a branch has failed."""
MAX_FAILED_ROUNDS = 3
"""Largest number of consecutive rounds in which every branch failed, after which the agent has."""
PRUNED = "the search continued elsewhere"
ENDED = "the search has ended"


@dataclass(frozen=True, kw_only=True)
class Branch:
    """The live part of a node: its episode, and the conversation that led to it."""

    episode: Episode
    turns: tuple[Turn, ...]


@dataclass(frozen=True, kw_only=True)
class Grown:
    """A continuation of a node that ran its cell."""

    branch: Branch
    plan: str


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A cell that the model wrote."""

    cell: ExecuteCode
    plan: str
    turn: Turn
    """The answer; its reply follows when the cell has run."""


class Search:
    """The search of one agent in one episode."""

    def __init__(self, episode: Episode, chat: ChatModel, settings: Settings, seed: int) -> None:
        self._episode, self._chat, self._settings = episode, chat, settings
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._seed = seed
        self._first = task_message(episode)
        self.tree = Tree(
            nodes=[Node(number=0)],
            higher_is_better=episode.setup.task.scoring.higher_is_better,
        )
        self._branches = {self.tree.root: Branch(episode=episode, turns=())}
        self._failed_rounds = 0

    async def run(self) -> None:
        """Search until the budget is used up or nothing is left to try.

        Raises as `Episode.act` and `ChatModel.ask` do; `AgentError` if all branches failed in
        several rounds.
        """
        try:
            if self._settings.prepare:
                await self._prepare()
            while not self._episode.over and (moves := await self._next_moves()):
                grown = await self._grow_all(moves)
                self._failed_rounds = 0 if any(grown) else self._failed_rounds + 1
                if self._failed_rounds > MAX_FAILED_ROUNDS:
                    raise AgentError(
                        f"{self._chat.name} wrote no cell in {self._failed_rounds} consecutive"
                        " rounds of the search; the answers are in the notebook"
                    )
        finally:
            await self._finish()

    # ── the state that all drafts begin with ──────────────────────────────────────────────

    async def _prepare(self) -> None:
        """Run a cell with what all solutions need, and repair it if it fails."""
        root = self.tree.root
        for attempt in range(self._settings.debug_depth + 1):
            turns = self._branches[root].turns
            stage: Stage = "debug" if attempt else "prepare"
            told = self._instruction(Move(stage=stage, node=root))
            proposal = await self._propose(root, told, self._seed)
            if proposal is None or self._episode.over:
                return
            await self._episode.act(proposal.cell, thought=proposal.plan)
            turn = with_reply(proposal.turn, self._episode)
            self._branches[root] = Branch(episode=self._episode, turns=(*turns, turn))
            root.score = self._episode.observation.public_score
            root.plan, root.attempts = proposal.plan, 0
            if not self._episode.observation.error:
                return

    # ── rounds ────────────────────────────────────────────────────────────────────────────

    async def _next_moves(self) -> list[Move]:
        """Return the moves of the next round; kernels end if they leave no room for any."""
        settings, episode = self._settings, self._episode
        limit = memory_limit(episode)
        while True:
            used = await memory_used(episode, enough_bytes=limit // 4)
            fit = branches_that_fit(used=used, limit=limit, kernels=len(self._branches))
            free = settings.kernels - len(self._branches)
            victims = prunable(self.tree, settings, keep=self._best())
            if (fit > 0 and free >= settings.width) or not victims:
                break
            await self._end(victims[0], PRUNED)
        left = episode.setup.budget.steps_left(episode.spent)
        count = min(settings.width, max(1, fit), max(1, free), left)
        return select_moves(self.tree, settings, self._rng, count)

    async def _grow_all(self, moves: list[Move]) -> list[Grown | None]:
        """Make moves at the same time, and add what came of them to the tree, in their order.

        Raises the first exception of one, once all have ended.
        """
        running: list[asyncio.Future[Grown | None]] = []
        for move in moves:
            seed = self._seed + len(self.tree.nodes) + len(running)
            told = self._instruction(move)
            running.append(asyncio.ensure_future(self._grow(move, told, seed)))
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            raise
        finally:
            for move, task in zip(moves, running, strict=True):
                if not task.cancelled() and not task.exception() and (grown := task.result()):
                    self._add(move, grown)
        return [task.result() for task in running]

    def _add(self, move: Move, grown: Grown) -> None:
        node = Node(
            number=len(self.tree.nodes),
            parent=move.node,
            stage=move.stage,
            score=grown.branch.episode.observation.public_score,
            plan=grown.plan,
        )
        move.node.children.append(node)
        self.tree.nodes.append(node)
        self._branches[node] = grown.branch

    async def _grow(self, move: Move, told: str, seed: int) -> Grown | None:
        """Let the model continue a node; None if its answers have no cell, or the time is up."""
        parent = self._branches[move.node]
        try:
            proposal = await self._propose(move.node, told, seed)
        except (AgentSetupError, ModelError):
            raise
        except AgentError:  # it ends this branch alone, and its answers are recorded
            return None
        if proposal is None or self._episode.over:
            return None
        (child,) = await parent.episode.fork()
        try:
            await act_in_branch(self._episode, child, proposal.cell, thought=proposal.plan)
        except EpisodeOver:  # the time ran out since the last check
            await child.end("budget", self._episode.over or ENDED)
            return None
        except BaseException as error:
            await child.end("interrupted", str(error) or ENDED)
            raise
        turns = (*parent.turns, with_reply(proposal.turn, child))
        return Grown(branch=Branch(episode=child, turns=turns), plan=proposal.plan)

    def _instruction(self, move: Move) -> str:
        """Return what the model is asked for a move, which counts as an attempt."""
        told = prompts.instruction(move.stage, move.node, self.tree)
        move.node.attempts += 1
        return told

    async def _propose(self, node: Node, told: str, seed: int) -> Proposal | None:
        """Ask the model for a cell that continues a node; None if the budget ends first.

        Raises `AgentError` after several answers without one, and as `ChatModel.ask` does.
        """
        path = self._branches[node].turns
        first, turns = prompts.with_instruction(self._first, path, told)
        reason = ""
        for _ in range(MAX_INVALID_ANSWERS + 1):
            answer = await self._chat.ask(first, turns, self._episode, seed=seed)
            if answer is None or self._episode.over:
                return None
            cell = prompts.cell_of(answer)
            if isinstance(cell, ExecuteCode):
                turn = Turn(answer=answer, replies=())
                return Proposal(cell=cell, plan=prompts.plan_of(answer), turn=turn)
            reason = cell.reason
            self._episode.note("refused", answer.thought, reason=reason)
            turns = (*turns, Turn(answer=answer, replies=(reason,)))
        raise AgentError(f"{self._chat.name} wrote no cell: {self._chat.one_line(reason)}")

    # ── ends ──────────────────────────────────────────────────────────────────────────────

    def _best(self) -> Node | None:
        """Return the living node with the submission of the best public score; None without one.

        Scores are compared as the grader computed them, not as they are shown.
        """
        progress = self._episode.progress
        best, grade = None, None
        for node, branch in self._branches.items():
            step = branch.episode.latest
            found = step.submission if step else None
            if found is None or found.kind != "graded" or not found.is_candidate:
                continue
            if grade is None or progress.better(found.grade, grade):
                best, grade = node, found.grade
        return best

    async def _end(self, node: Node, reason: str) -> None:
        """End the kernel of a node."""
        node.alive = False
        await self._branches.pop(node).episode.end(reason=reason)

    async def _finish(self) -> None:
        """Continue the first episode as the best branch, and end all others."""
        best = self._best() or self.tree.root
        del self._branches[self.tree.root]
        try:
            if best in self._branches:
                branch = self._branches.pop(best).episode
                await self._continue_as(branch)
        finally:
            for node in list(self._branches):
                await self._end(node, ENDED)

    async def _continue_as(self, branch: Episode) -> None:
        try:
            await fast_forward(self._episode, branch)
        except UsageError as error:  # a person took a step in the episode meanwhile
            await branch.end(reason=ENDED)
            raise AgentError(f"{error}; the best branch is in {branch.folder}") from None


def with_reply(turn: Turn, episode: Episode) -> Turn:
    """Return a turn with what came of its cell as the reply."""
    return replace(turn, replies=(episode.observation.text,))
