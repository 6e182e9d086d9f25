"""Select which nodes of a tree are continued next, and how.

A policy returns one move; `select_moves` asks it for several that run at the same time. All are
functions of the nodes and of a generator of random numbers, so that equal trees and seeds give
equal moves.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping

from kernel_env.agents.tree.node import Move, Node, Stage, Tree
from kernel_env.agents.tree.settings import Settings

Pending = Mapping[Node, int]
"""How many continuations of each node were selected and have not ended yet."""
Policy = Callable[[Tree, Pending, Settings, random.Random], Move | None]


def select_moves(tree: Tree, settings: Settings, rng: random.Random, count: int) -> list[Move]:
    """Return up to `count` moves, each selected as if the ones before it had begun."""
    moves: list[Move] = []
    pending: Counter[Node] = Counter()
    for _ in range(count):
        move = POLICIES[settings.policy](tree, pending, settings, rng)
        if move is None:
            break
        moves.append(move)
        pending[move.node] += 1
    return moves


def select_aide(tree: Tree, pending: Pending, settings: Settings, rng: random.Random) -> Move:
    """Draft, repair or improve greedily.

    The search policy of AIDE (Jiang et al., "AIDE: AI-Driven Exploration in the Space of Code",
    arXiv:2502.13138, and its program `aideml`): first some drafts; then, with a probability, repair
    a broken leaf; otherwise improve the best node.
    """
    root = tree.root
    if len(root.children) + pending.get(root, 0) < settings.drafts:
        return Move(stage="draft", node=root)
    broken = [
        node
        for node in tree.nodes[1:]
        if node.alive
        and node.is_buggy
        and not node.children
        and not pending.get(node)
        and node.debug_depth < settings.debug_depth
    ]
    if rng.random() < settings.debug_probability and broken:
        return Move(stage="debug", node=rng.choice(broken))
    good = [node for node in tree.nodes if node.alive and not node.is_buggy]
    if not good:
        return Move(stage="draft", node=root)
    return Move(stage="improve", node=tree.by_score(good)[0])


def select_mcts(
    tree: Tree,
    pending: Pending,
    settings: Settings,
    rng: random.Random,  # noqa: ARG001 - the signature of policies
) -> Move | None:
    """Walk down from the root by UCT, and continue the first node that lacks children.

    UCT (Kocsis and Szepesvári, "Bandit based Monte-Carlo planning", ECML 2006) follows the child
    with the largest

        mean value + c · sqrt(ln(visits of the parent) / visits of the child).

    As in AIRA (Toledo et al., "AI research agents for machine learning", arXiv:2507.02554), nothing
    is simulated: the value of a node is that of its own score, and the mean is over its part of the
    tree. A value is the share of the scored nodes that a node is better than, ties counting half,
    and 0 without a score. A continuation that has not ended yet counts as a visit of value 0
    (virtual loss: Chaslot et al., "Parallel Monte-Carlo tree search", 2008).

    Returns None when no node can be continued any more.
    """
    values = values_of(tree)
    visits: Counter[Node] = Counter()
    sums: dict[Node, float] = dict.fromkeys(tree.nodes, 0.0)
    can_grow: set[Node] = set()
    for node in tree.nodes:
        waiting, open_ = pending.get(node, 0), has_room(node, pending, settings)
        for above in node.lineage():
            visits[above] += 1 + waiting
            sums[above] += values[node]
            if open_:
                can_grow.add(above)

    node = tree.root
    while node in can_grow:
        if has_room(node, pending, settings):
            return Move(stage=stage_after(node), node=node)
        total = visits[node]

        def uct(child: Node, total: int = total) -> float:
            bonus = math.sqrt(math.log(total) / visits[child])
            return sums[child] / visits[child] + settings.exploration * bonus

        node = max((child for child in node.children if child in can_grow), key=uct)
    return None


POLICIES: dict[str, Policy] = {"aide": select_aide, "mcts": select_mcts}


def has_room(node: Node, pending: Pending, settings: Settings) -> bool:
    """Return whether UCT may give a node another child."""
    if not node.alive:
        return False
    if node.parent is None:
        most = settings.drafts
    elif node.is_buggy:
        most = 1 if node.debug_depth < settings.debug_depth else 0
    else:
        most = settings.children
    return len(node.children) + pending.get(node, 0) < most


def stage_after(node: Node) -> Stage:
    """Return what a continuation of a node is for."""
    if node.parent is None:
        return "draft"
    return "debug" if node.is_buggy else "improve"


def values_of(tree: Tree) -> dict[Node, float]:
    """Return the value of each node, from 0 to 1; see `select_mcts`."""
    scores = [node.score for node in tree.nodes if node.score is not None]

    def value(score: float) -> float:
        if len(scores) < 2:
            return 1.0
        better = sum(tree.gain(score, other) > 0 for other in scores)
        equal = sum(other == score for other in scores) - 1
        return (better + equal / 2) / (len(scores) - 1)

    return {node: 0.0 if node.score is None else value(node.score) for node in tree.nodes}


def prunable(tree: Tree, settings: Settings, keep: Node | None) -> list[Node]:
    """Return the nodes with a kernel in the order in which these end.

    First those that are not continued any more, then broken ones, then from the worst score to the
    best. Never the root, nor `keep`.
    """

    def continued(node: Node) -> bool:
        return not node.is_buggy or (not node.children and node.debug_depth < settings.debug_depth)

    nodes = [node for node in tree.nodes[1:] if node.alive and node is not keep]
    worst_first = tree.by_score(nodes)[::-1]
    return sorted(worst_first, key=continued)
