"""Define the nodes of a search tree: a cell, and the state of the kernel after it.

Nodes know no kernels: policies are functions of nodes alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["prepare", "draft", "debug", "improve"]
"""What a cell is for: what all solutions need, a first solution, a repair, a better solution."""


@dataclass(eq=False, kw_only=True)
class Node:
    """A cell of the search, and what came of it."""

    number: int
    """0 for the root, whose state all drafts begin with; then in the order of the search."""
    parent: "Node | None" = None
    stage: Stage = "prepare"
    score: float | None = None
    """The public score that the model was shown for the cell; None if it was shown none."""
    plan: str = ""
    """What the model said about the cell."""
    alive: bool = True
    """Whether its kernel runs, so that it can be continued."""
    attempts: int = 0
    """How often it was continued, attempts without a cell included."""
    children: list["Node"] = field(default_factory=list)

    @property
    def is_buggy(self) -> bool:
        """Return whether its cell ended without a score."""
        return self.score is None

    @property
    def debug_depth(self) -> int:
        """Return the number of consecutive repairs that end with this node."""
        depth, node = 0, self
        while node.stage == "debug" and node.parent is not None:
            depth, node = depth + 1, node.parent
        return depth

    def lineage(self) -> Iterator["Node"]:
        """Yield this node and those above it, the root last."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


@dataclass(frozen=True, kw_only=True)
class Move:
    """A continuation that a policy selects."""

    stage: Stage
    node: Node
    """The node that it continues: the root for a draft."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """All nodes of a search, in the order of their numbers; the first is the root."""

    nodes: list[Node]
    higher_is_better: bool

    @property
    def root(self) -> Node:
        """Return the root."""
        return self.nodes[0]

    def gain(self, one: float, other: float) -> float:
        """Return by how much one score is better than another, in the metric's units."""
        return one - other if self.higher_is_better else other - one

    def by_score(self, nodes: list[Node]) -> list[Node]:
        """Return nodes from the best to the worst; earlier ones first among equals."""
        sign = -1 if self.higher_is_better else 1

        def key(node: Node) -> tuple[bool, float, int]:
            score = node.score
            return (score is None, 0.0 if score is None else sign * score, node.number)

        return sorted(nodes, key=key)
