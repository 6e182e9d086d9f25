"""What a provider of feedback says is a part of the step, and never ends the episode."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel_env import AgentSetupError, Episode, EpisodeConfig, Step, UsageError, open_episode
from kernel_env.agents.openai.critic import ModelFeedback
from kernel_env.episode import feedback
from kernel_env.episode.feedback import StaticFeedback
from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.episode.notebook import render
from kernel_env.episode.notebook_parser import parse_notebook
from kernel_env.episode.step import Remark
from kernel_env.tasks import spec
from support.cli import error_line, run_cli
from support.episodes import execute


class Scripted:
    """Says what a test gave it, or raises it."""

    name = "scripted"

    def __init__(self, *answers: Remark | Exception | float | None) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []

    async def comment(self, step: Step, seen: str, episode: Episode) -> Remark | None:
        self.seen.append(seen)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return None
        return answer


def remark(text: str, **more: Any) -> Remark:
    return Remark(source="scripted", text=text, **more)


async def test_a_remark_is_read_recorded_and_counted_apart(tiny: str, tmp_path: Path) -> None:
    said = remark("submission graded: 1.0\nTry x * 3.", tokens=120, money=0.5)
    provider = Scripted(said, None, remark("Good."))
    async with open_episode(
        tiny, sandbox="local", out=tmp_path, feedback_provider=provider
    ) as episode:
        for code in ("print('hello')", "1", "2"):
            await execute(episode, code)
            if code == "print('hello')":
                seen = episode.observation.text

    assert "hello" in provider.seen[0]
    assert "feedback" not in provider.seen[0]
    assert "[feedback by scripted:]\n```" in seen, "what looks like a line of ours is fenced"
    trajectory = read_journal(episode.folder / JOURNAL)
    assert [step.remark for step in trajectory.steps] == [said, None, remark("Good.")]
    assert list(parse_notebook(render(trajectory)).steps) == list(trajectory.steps)
    assert "Feedback by scripted" in episode.notebook.read_text()
    result = episode.result
    assert result is not None
    assert (result.remarks, result.feedback_usage.tokens, result.feedback_usage.money) == (
        *(2, 120),
        0.5,
    )
    assert (result.usage.tokens, result.usage.money) == (0, 0)
    assert trajectory.header.feedback_provider == "scripted"


async def test_a_provider_that_fails_or_is_silent_ends_nothing(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "TIMEOUT_S", 0.05)
    provider = Scripted(ValueError("no\nidea"), UsageError("no key"), 5.0, remark("x" * 9_000))
    async with open_episode(
        tiny, sandbox="local", out=tmp_path, feedback_provider=provider
    ) as episode:
        for _ in range(4):
            await execute(episode, "1")

    steps = list(episode.steps)
    missing = [step.remark.missing if step.remark else "" for step in steps]
    assert missing == [r"ValueError: no\nidea", "no key", "nobody answered within 0.05 s", ""]
    assert steps[3].remark is not None
    assert len(steps[3].remark.text) < 4_200
    assert episode.result is not None
    assert episode.result.status == "finished"


async def test_the_agents_clock_stands_still_meanwhile(tiny: str, tmp_path: Path) -> None:
    async with open_episode(
        tiny, sandbox="local", out=tmp_path, feedback_provider=Scripted(0.6)
    ) as episode:
        await execute(episode, "1")

    assert episode.result is not None
    assert episode.result.waited_seconds >= 0.6


async def test_hints_of_a_task_come_one_by_one(task_folder: Path, tmp_path: Path) -> None:
    path = task_folder / "task.toml"
    path.write_text('hints = ["Look at x.", "Fit a line."]\n' + path.read_text())
    async with open_episode(
        str(task_folder),
        sandbox="local",
        out=tmp_path / "runs",
        feedback_provider="static",
        feedback_settings={"every": 2},
    ) as episode:
        for _ in range(5):
            await execute(episode, "1")

    said = [step.remark.text if step.remark else "" for step in episode.steps]
    assert said == ["", "Look at x.", "", "Fit a line.", ""]


@pytest.mark.parametrize("as_coroutine", [False, True])
async def test_a_person_is_asked_by_a_function(
    tiny: str, tmp_path: Path, as_coroutine: bool
) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return " try a line \n" if len(asked) == 1 else "\n"

    async def ask_later(question: str) -> str:
        await asyncio.sleep(0)
        return ask(question)

    async with open_episode(
        tiny,
        sandbox="local",
        out=tmp_path,
        feedback_provider="human",
        feedback_settings={"ask": ask_later if as_coroutine else ask},
    ) as episode:
        for _ in range(2):
            await execute(episode, "print(41)")

    assert "41" in asked[0]
    assert asked[0].endswith("feedback on step 1 (empty: none): ")
    said = [step.remark for step in episode.steps]
    assert said == [Remark(source="human", text="try a line"), None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "every is 0; it must be a whole number of at least 1"),
        ({"evry": 2}, "no setting of the feedback provider static named 'evry'"),
        ({}, "the task tiny has no hints to give"),
    ],
)
def test_wrong_settings_are_one_line(tiny: str, settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        StaticFeedback(settings, spec.load(Path(tiny)))

    assert message in str(error.value)


def test_wrong_options_are_one_line_before_anything_starts(tiny: str) -> None:
    done = run_cli("run", tiny, "--agent=nop", "--sandbox=local", "--feedback-provider=human")
    assert "standard input is none" in error_line(done)
    with pytest.raises(UsageError, match="no feedback provider named 'critic'; known: human, llm"):
        EpisodeConfig(task=tiny, feedback_provider="critic")
    with pytest.raises(UsageError, match="feedback_settings are for a feedback_provider"):
        EpisodeConfig(task=tiny, feedback_settings={"model": "x"})
    with pytest.raises(AgentSetupError, match="needs a model; set model=NAME"):
        ModelFeedback({}, spec.load(Path(tiny)))
