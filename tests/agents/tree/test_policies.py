"""Policies are functions of the nodes: any tree, any seed."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_env.agents.tree.memory import MANY, branches_that_fit
from kernel_env.agents.tree.node import Node, Stage, Tree
from kernel_env.agents.tree.policies import prunable, select_moves, values_of
from kernel_env.agents.tree.settings import Settings

SCORES = st.one_of(st.none(), st.floats(-1e6, 1e6))


def grow(tree: Tree, parent: Node, score: float | None, *, alive: bool = True) -> Node:
    stage: Stage = "draft" if parent.parent is None else "debug" if parent.is_buggy else "improve"
    node = Node(number=len(tree.nodes), parent=parent, stage=stage, score=score, alive=alive)
    parent.children.append(node)
    tree.nodes.append(node)
    return node


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    tree = Tree(nodes=[Node(number=0)], higher_is_better=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 20))):
        parent = draw(st.sampled_from(tree.nodes))
        grow(tree, parent, draw(SCORES), alive=draw(st.booleans()))
    return tree


SETTINGS = st.builds(
    Settings,
    policy=st.sampled_from(["aide", "mcts"]),
    drafts=st.integers(1, 6),
    children=st.integers(1, 4),
    debug_depth=st.integers(0, 3),
    debug_probability=st.sampled_from([0.0, 0.5, 1.0]),
    exploration=st.floats(0, 10),
)


@given(trees(), SETTINGS, st.integers(0, 9), st.integers(1, 8))
def test_moves_continue_living_nodes_as_their_state_needs(
    tree: Tree, settings: Settings, seed: int, count: int
) -> None:
    moves = select_moves(tree, settings, random.Random(seed), count)

    assert moves == select_moves(tree, settings, random.Random(seed), count)
    assert len(moves) <= count
    for move in moves:
        assert move.node.alive
        assert (move.stage == "draft") == (move.node is tree.root) or move.stage == "improve"
        if move.stage == "debug":
            assert move.node.is_buggy
            assert move.node.debug_depth < settings.debug_depth
        if move.stage == "improve":
            assert not move.node.is_buggy
    if settings.policy == "mcts":
        for node in {move.node for move in moves} - {tree.root}:
            gained = sum(move.node is node for move in moves)
            assert len(node.children) + gained <= (1 if node.is_buggy else settings.children)


@given(trees(), SETTINGS)
def test_values_order_nodes_by_score_and_lie_between_0_and_1(
    tree: Tree, settings: Settings
) -> None:
    values = values_of(tree)

    assert all(0 <= value <= 1 for value in values.values())
    ordered = [values[node] for node in tree.by_score(tree.nodes) if not node.is_buggy]
    assert ordered == sorted(ordered, reverse=True)


@given(trees(), SETTINGS)
def test_the_best_node_and_the_root_keep_their_kernels(tree: Tree, settings: Settings) -> None:
    best = tree.by_score(tree.nodes)[0]

    victims = prunable(tree, settings, keep=best)

    assert best not in victims
    assert tree.root not in victims
    assert set(victims) == {n for n in tree.nodes[1:] if n.alive and n is not best}


def test_aide_drafts_first_then_improves_the_best() -> None:
    tree = Tree(nodes=[Node(number=0)], higher_is_better=False)
    settings = Settings(drafts=2, debug_probability=0.0)

    drafts = select_moves(tree, settings, random.Random(0), 2)
    good, _ = grow(tree, tree.root, 0.5), grow(tree, tree.root, 0.7)
    (improved,) = select_moves(tree, settings, random.Random(0), 1)
    broken = grow(tree, good, None)
    (repaired,) = select_moves(tree, replace(settings, debug_probability=1.0), random.Random(0), 1)

    assert [move.stage for move in drafts] == ["draft", "draft"]
    assert (improved.stage, improved.node) == ("improve", good)
    assert (repaired.stage, repaired.node) == ("debug", broken)


def test_uct_explores_what_it_has_visited_less_often() -> None:
    def chosen(exploration: float) -> Node:
        tree = Tree(nodes=[Node(number=0)], higher_is_better=True)
        good, bad = grow(tree, tree.root, 0.9), grow(tree, tree.root, 0.5)
        for _ in range(4):
            grow(tree, good, 0.8)
        settings = Settings(policy="mcts", drafts=2, children=5, exploration=exploration)
        (move,) = select_moves(tree, settings, random.Random(0), 1)
        return {good: "good", bad: "bad"}.get(move.node, "other")  # type: ignore[return-value]

    assert (chosen(0.0), chosen(2.0)) == ("good", "bad")


@pytest.mark.parametrize(
    ("used", "limit", "kernels", "fit"),
    [(400, 1000, 4, 6), (990, 1000, 3, 0), (2000, 1000, 3, 0), (5, 0, 3, MANY), (0, 10, 1, 10)],
)
def test_as_many_branches_run_as_fit_into_the_memory(
    used: int, limit: int, kernels: int, fit: int
) -> None:
    assert branches_that_fit(used=used, limit=limit, kernels=kernels) == fit
