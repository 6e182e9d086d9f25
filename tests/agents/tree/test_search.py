"""A search over forks spends one budget, ends its kernels, and its record is that of the best."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_env.bench.scripted_model import ScriptedModel, completion, serve
from kernel_env.episode import Episode
from kernel_env.episode.chain import first_difference
from kernel_env.episode.results import read_results
from kernel_env.grading.host import Grader
from kernel_env.runner import run_episode
from support.chat_server import Reply, error_reply, run_chat_server, text_answer
from support.cli import run_cli
from support.episodes import SUBMIT_LINE
from support.tree_search import SCRIPT, codes, plan, read_tree


@pytest.mark.parametrize("policy", [pytest.param("aide", marks=pytest.mark.slow), "mcts"])
async def test_the_record_has_the_best_score_of_the_tree_and_the_costs_of_all(
    model: ScriptedModel, grader: Grader, tiny: str, tmp_path: Path, policy: str
) -> None:
    result = await run_episode(
        plan(tiny, model.url, tmp_path, policy=policy, drafts=3, width=2, budget={"steps": 8}),
        grader=grader,
    )

    tree = read_tree(result)
    assert (result.status, result.parent, result.public_score) == ("budget", "", tree.best)
    assert result.private_score is not None
    assert first_difference(tree.root) is None
    assert tree.root.ending is not None
    spent = tree.root.ending.spent
    assert (spent.steps, tree.own_steps) == (8, 8)
    assert len(model.answers) == 8
    assert len(tree.branches) == 8
    assert result.usage.tokens == spent.tokens > 0
    for branch in tree.branches[1:]:
        assert branch.ending is not None
        assert branch.ending.spent.tokens <= spent.tokens
    assert codes(tree.root)[0].startswith("import os")
    assert (Path(result.notebook).parent / "tree.html").is_file()
    counted = [record for record in read_results(tmp_path) if not record.parent]
    assert [record.episode for record in counted] == [result.episode]


async def test_a_seed_gives_one_tree(
    model: ScriptedModel, grader: Grader, tiny: str, tmp_path: Path
) -> None:
    trees = []
    for name in ("a", "b"):
        mine = plan(tiny, model.url, tmp_path / name, width=3, drafts=2, budget={"steps": 7})
        trees.append(read_tree(await run_episode(mine, grader=grader)))

    assert trees[0].codes() == trees[1].codes()
    assert codes(trees[0].root) == codes(trees[1].root)
    assert any("1 / 0" in code for branch in trees[0].codes() for code in branch)


async def test_all_branches_together_spend_one_budget_of_money(
    model: ScriptedModel, grader: Grader, tiny: str, tmp_path: Path
) -> None:
    mine = plan(tiny, model.url, tmp_path, width=1, budget={"money": 0.004})

    result = await run_episode(mine, grader=grader)

    tree = read_tree(result)
    assert result.status == "budget"
    assert 0.004 <= result.usage.money < 0.006
    assert tree.own_steps == len(model.answers) - 1  # the last answer came too late


async def test_kernels_of_bad_branches_end_during_the_search(
    grader: Grader, tiny: str, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    note = f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); "
    changes = [note + code for code in SCRIPT.changes[:2]]
    script = replace(SCRIPT, drafts=[note + SCRIPT.drafts[0]], changes=changes)
    counts: list[int] = []
    with serve(script) as model:
        model.asked = lambda: counts.append(len(living(pids)))
        mine = plan(tiny, model.url, tmp_path, width=1, kernels=3, drafts=2, budget={"steps": 8})

        result = await run_episode(mine, grader=grader)

    reasons = [each.ending.reason for each in read_tree(result).branches[1:] if each.ending]
    assert reasons.count("the search continued elsewhere") == 5
    assert len(pids.read_text().split()) == 7
    assert max(counts) == 1
    assert living(pids) == []


@pytest.mark.docker
@pytest.mark.slow
async def test_kernels_end_before_the_memory_of_the_container_is_full(
    grader: Grader, tiny: str, tmp_path: Path
) -> None:
    fill = "import numpy as np; data = np.ones(25_000_000); "
    script = replace(SCRIPT, drafts=[f"{fill}slope = {n}.0; submit(slope)" for n in range(6)])
    with serve(script) as model:
        mine = plan(tiny, model.url, tmp_path, drafts=6, budget={"steps": 7}, sandbox="docker")

        result = await run_episode(mine, grader=grader)

    tree = read_tree(result)
    reasons = [branch.ending.reason for branch in tree.branches[1:] if branch.ending]
    assert reasons.count("the search continued elsewhere") > 1
    assert not any(
        step.cell and step.cell.recovery for each in tree.branches for step in each.steps
    )
    assert (result.status, result.public_score) == ("budget", tree.best)


def living(pids: Path) -> list[str]:
    """Return those of the processes listed in a file that run."""
    listed = pids.read_text().split() if pids.exists() else []
    return [pid for pid in listed if Path(f"/proc/{pid}/exe").exists()]


async def test_a_model_that_fails_in_a_branch_ends_only_that_branch(
    grader: Grader, tiny: str, tmp_path: Path
) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        asked = str(request["messages"][-1]["content"])
        if "[draft, attempt 2]" in asked or "answer with a short plan" in asked:
            return text_answer("I would rather not.")
        return text_answer(f"Try.\n```python\n{SUBMIT_LINE}```")

    with run_chat_server() as chat:
        chat.script = [answer] * 99
        mine = plan(tiny, chat.url, tmp_path, prepare=False, drafts=2, budget={"steps": 3})

        result = await run_episode(mine, grader=grader)

    tree = read_tree(result)
    assert (result.status, len(tree.branches)) == ("budget", 4)
    assert [note.kind for note in tree.root.notes] == ["instructions"] + ["refused"] * 4
    assert result.public_score is not None


async def test_what_was_best_stands_when_the_models_service_fails(
    model: ScriptedModel, grader: Grader, tiny: str, tmp_path: Path
) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        messages = request["messages"]
        if len(model.answers) == 4:
            return error_reply(401, "no")
        return Reply(body=completion(model.answer(messages), messages))

    with run_chat_server() as chat:
        chat.script = [answer] * 99

        result = await run_episode(plan(tiny, chat.url, tmp_path, drafts=2), grader=grader)

    tree = read_tree(result)
    assert result.status == "setup_failed"
    assert len(tree.branches) == 4
    assert result.public_score == tree.best


async def test_an_interrupted_search_ends_all_branches(
    model: ScriptedModel, grader: Grader, tiny: str, tmp_path: Path
) -> None:
    loop, episodes = asyncio.get_running_loop(), list[Episode]()
    mine = plan(tiny, model.url, tmp_path, drafts=2)
    running = asyncio.create_task(run_episode(mine, grader=grader, watch=episodes.append))
    model.asked = lambda: len(model.answers) == 4 and loop.call_soon_threadsafe(running.cancel)

    with pytest.raises(asyncio.CancelledError):
        await running

    (episode,) = episodes
    assert episode.result is not None
    tree = read_tree(episode.result)
    assert episode.result.status == "interrupted"
    assert episode.result.public_score == tree.best
    assert len(tree.branches) > 2
    assert all(branch.ending for branch in tree.branches)


@pytest.mark.slow
async def test_the_record_of_a_search_is_reproduced(
    model: ScriptedModel, grader: Grader, tiny: str, tmp_path: Path
) -> None:
    result = await run_episode(plan(tiny, model.url, tmp_path / "runs"), grader=grader)

    verified = run_cli(
        *("replay", Path(result.notebook).parent, "--verify", "--sandbox", "local"),
        *("--out", tmp_path / "again"),
        KERNEL_ENV_TASKS=str(Path(tiny).parent),
    )

    assert result.steps > 2
    assert verified.stdout.splitlines()[-1].startswith("REPRODUCED")


async def test_a_model_that_always_fails_ends_the_agent(
    grader: Grader, tiny: str, tmp_path: Path
) -> None:
    with run_chat_server() as chat:
        chat.script = [text_answer("No.")] * 99

        result = await run_episode(plan(tiny, chat.url, tmp_path, prepare=False), grader=grader)

    assert result.status == "agent_failed"
    assert result.error.startswith("scripted wrote no cell in 4 consecutive rounds")


async def test_an_agent_that_sees_no_scores_is_refused(
    model: ScriptedModel, grader: Grader, tiny: str, tmp_path: Path
) -> None:
    mine = plan(tiny, model.url, tmp_path)
    mine.config.__dict__["feedback"] = "validity"

    result = await run_episode(mine, grader=grader)

    assert result.status == "setup_failed"
    assert "the feedback 'validity' it sees none" in result.error
    assert model.answers == []
