"""What a model is told and says beside its actions is in the journal and in the notebook."""

from itertools import pairwise
from pathlib import Path

import pytest

from kernel_env.agents.openai.conversation import SYSTEM
from kernel_env.cli.run import cost
from kernel_env.episode.budget import Spent
from kernel_env.episode.journal import read_journal
from kernel_env.episode.notebook_parser import parse_notebook, read_notebook
from kernel_env.episode.result import EpisodeResult
from kernel_env.episode.trajectory import Note
from support.chat_server import ChatServer, text_answer, text_of, tool_answer
from support.openai_episodes import Play, cell

pytestmark = pytest.mark.asyncio(loop_scope="session")


def notes(result: EpisodeResult) -> list[Note]:
    """Read the notes of an episode from its notebook; the journal has the same."""
    read = parse_notebook(read_notebook(Path(result.notebook))).notes
    assert list(read) == list(read_journal(Path(result.notebook).with_name("journal.jsonl")).notes)
    return list(read)


def prose(result: EpisodeResult) -> str:
    """Return the text of a notebook's Markdown cells."""
    cells = read_notebook(Path(result.notebook)).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


async def test_instructions_refused_answers_and_last_words_are_kept(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [
        tool_answer(cell("1")),
        text_answer("<think>hm</think>Let me think."),
        tool_answer(("execute_code", '{"cod": "2"}')),
        tool_answer(cell("2")),
        text_answer("All is well. DONE"),
    ]

    result = await play()

    instructions, first, refused, invalid, last = notes(result)
    assert instructions == Note(kind="instructions", text=SYSTEM)
    assert first.kind == "first_message"
    assert first.text == text_of(chat.requests[0]["messages"][1])
    assert (refused.kind, refused.text, refused.after_step) == (
        *("refused", "hm\n\nLet me think.", 1),
    )
    assert refused.reason.startswith("your answer contains no action")
    assert invalid.text == 'execute_code({"cod": "2"})'
    assert invalid.reason.startswith("execute_code is not valid: code: field required")
    assert (last.kind, last.text, last.after_step) == ("last_words", "All is well. DONE", 2)
    for words in ("Let me think.", '{"cod": "2"}', "All is well. DONE", "You are a machine-lea"):
        assert words in prose(result)


async def test_the_answers_of_a_model_that_gave_up_are_kept(chat: ChatServer, play: Play) -> None:
    chat.script = [text_answer(f"Lovely weather {n}") for n in range(9)]

    result = await play()

    assert result.status == "agent_failed"
    assert [note.text for note in notes(result)[2:]] == [f"Lovely weather {n}" for n in range(4)]
    assert "| **Status** | agent failed: ````scripted gave 4 consecutive" in prose(result)


async def test_tokens_and_dollars_are_in_the_notebook(chat: ChatServer, play: Play) -> None:
    chat.script = [tool_answer(cell("1"))]

    result = await play(price_in=1000.0, price_out=1000.0)

    text = prose(result)
    assert " · 110 tokens · 0.1100 US dollars</sub>" in text
    assert " s, 220 tokens, 0.2200 US dollars |" in text
    assert "about 110" not in text
    assert result.estimated_tokens == 0
    assert cost(result) == "$0.2200"


async def test_guessed_tokens_are_marked(chat: ChatServer, play: Play) -> None:
    chat.script = [
        tool_answer(cell("1"), usage=None),
        text_answer("DONE", usage={"prompt_tokens": 100}),
    ]

    result = await play()

    assert result.estimated_tokens == result.usage.tokens > 100
    assert "about 100 tokens" not in prose(result)
    assert f"about {result.usage.tokens:,} tokens" in prose(result)
    assert cost(result) == f"about {result.usage.tokens:,} tokens"


async def test_a_model_without_known_prices_is_not_called_free(
    chat: ChatServer, play: Play
) -> None:
    chat.script = [tool_answer(cell("1"))]

    result = await play()

    assert cost(result) == "220 tokens"


async def test_the_cost_of_each_answer_can_be_told(chat: ChatServer, play: Play) -> None:
    chat.script = [
        text_answer("Let me think."),
        tool_answer(cell("1")),
        text_answer("Hm.", usage=None),
        text_answer("All is well. DONE"),
    ]

    result = await play(price_in=1000.0, price_out=1000.0)

    _, _, refused, guessed, last = notes(result)
    (step,) = read_journal(Path(result.notebook).with_name("journal.jsonl")).steps
    spent = [refused.spent, step.spent, guessed.spent, last.spent]
    costs = [b.tokens - a.tokens for a, b in pairwise([Spent(), *spent])]
    assert [costs[0], costs[1], costs[3]] == [110, 110, 110]
    assert [each.estimated_tokens for each in spent] == [0, 0, costs[2], costs[2]]
    text = prose(result)
    assert text.count("<sub>110 tokens</sub>") == 2, "of the two notes"
    assert f"<sub>about {costs[2]:,} tokens</sub>" in text
    assert " · 110 tokens · 0.1100 US dollars</sub>" in text, "of the step alone"
