"""Text of others is shown as text: one line or several, quoted in Markdown."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kernel_env.errors import SandboxError, UnknownName
from kernel_env.untrusted_text import (
    IN_LINES,
    JOINER,
    LINE_CHARACTERS,
    NOTE_CHARACTERS,
    Block,
    Markdown,
    code_span,
    escape_line,
    escape_lines,
    fenced,
    join,
    quote_name,
    without_html,
)
from support.hostile_text import HOSTILE, active_elements, is_clean

ANY = st.text(st.characters()) | st.sampled_from(sorted(HOSTILE.values()))
VISIBLE_FORMATS = (
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
"""Signs of Arabic, Syriac and Kaithi that Unicode counts as formats and fonts draw."""


@given(ANY)
def test_a_line_is_one_line_without_invisible_characters(text: str) -> None:
    line = escape_line(text)

    assert is_clean(line, allowed="")
    assert len(line) <= LINE_CHARACTERS + NOTE_CHARACTERS
    assert escape_line(line) == line
    line.encode()


@given(ANY)
def test_lines_keep_their_breaks_and_tabs_only(text: str) -> None:
    lines = escape_lines(text)

    assert is_clean(lines)
    assert escape_lines(lines) == lines
    lines.encode()


@pytest.mark.parametrize("text", ["x = 1\n\ty", "naïve café 数据 🙂", "a\xa0b c", "مرحبا"])
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert escape_lines(text) == text


def test_every_format_character_of_unicode_is_escaped() -> None:
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    invisible = {
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in kinds
    } - {*"\n\t", *VISIBLE_FORMATS}

    assert [f"{ord(c):x}" for c in invisible if not IN_LINES.fullmatch(c)] == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\tc\x00", r"a\nb\tc\x00"),
        ("\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x07link\x1b]8;;\x1b\\", "red link"),
        ("\x9b31mred\x9dtitle\x9c", "red"),
        ("\x1b]0;never closed", r"\x1b]0;never closed"),
        ("\u202eabc\ud800", r"\u202eabc\ud800"),
        ("windows\r\n", r"windows\r\n"),
    ],
)
def test_what_a_line_shows(text: str, line: str) -> None:
    assert escape_line(text) == line


def test_a_long_line_is_cut_in_the_middle() -> None:
    line = escape_line("a" * 5_000 + "b" * 5_000)

    assert line.startswith("aaa")
    assert line.endswith("bbb")
    assert "[… 5,000 characters left out …]" in line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sepal length (cm)", "sepal length (cm)"),
        ("data/train.csv", "data/train.csv"),
        ("größe", "größe"),
        ("", "''"),
        ("a, b", "'a, b'"),
        (" x", "' x'"),
        ("x\n[KERNEL RESTORED", r"'x\n[KERNEL RESTORED'"),
        ("it's", '"it\'s"'),
        ("n" * 100, "n" * 80 + "…"),
    ],
)
def test_a_name_is_quoted_where_it_could_be_mistaken(name: str, shown: str) -> None:
    assert quote_name(name) == shown


def test_a_block_like_a_line_of_the_environment_is_fenced() -> None:
    own = re.compile(r"^\[own", re.MULTILINE)

    text = join(["a\nb", Block("1\n2"), Block("```\n[own 3"), Block("[own 4", fence=False)], own)

    assert text == "a\\nb\n1\n2\n````\n```\n[own 3\n````\n[own 4"


def test_errors_are_one_line() -> None:
    assert str(SandboxError("a\nb\x1b[31m")) == r"a\nb"
    assert str(UnknownName("task", "x\n", ["\x1b]0;y"])).isprintable()


# ── Markdown ──────────────────────────────────────────────────────────────────────────────

COMMONMARK = MarkdownIt("commonmark", {"html": True})


def text_of(html: str) -> str:
    for escaped, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        html = html.replace(escaped, character)
    return html.replace(JOINER, "")


@given(ANY)
def test_a_code_span_shows_the_text(text: str) -> None:
    html = COMMONMARK.render(Markdown("Said: {} here").format(code_span(text)))

    found = re.fullmatch(r"<p>Said: <code>(.*)</code> here</p>\n", html)
    assert found, html
    assert text_of(found[1]) == (escape_line(text).strip() or " ")
    assert not re.search(r"<[a-z/!]", Markdown("{}").format(code_span(text)))


@given(ANY)
def test_a_fenced_block_shows_the_text(text: str) -> None:
    html = COMMONMARK.render(f"Said:\n\n{fenced(text)}\n\nEnd")

    found = re.fullmatch(
        r"<p>Said:</p>\n<pre><code>(.*)</code></pre>\n<p>End</p>\n", html, re.DOTALL
    )
    assert found, html
    assert text_of(found[1]) == escape_lines(text) + "\n"


@given(ANY)
def test_what_is_filled_in_is_never_more_than_text(text: str) -> None:
    markdown = Markdown("⛔ **Submission rejected:** {} at {:.2f}").format(text, 1.5)

    assert active_elements(markdown) == []
    assert markdown.endswith(" at 1.50")


def test_plain_words_are_filled_in_as_they_are() -> None:
    words = "the share of entries, 12.5 % of them: it's more."

    assert Markdown("{}").format(words) == words


@pytest.mark.parametrize("name", HOSTILE)
def test_a_description_has_no_html_and_no_pictures(name: str) -> None:
    description = f"# Task\n\n{HOSTILE[name]}\n\n```csv\nid,y\n{HOSTILE[name]}\n```\n"

    html = COMMONMARK.render(without_html(description))

    assert not re.search(r"<(img|script|svg|b|iframe)\b|=.javascript:|<!--|class=", html), html
    assert "<h1>Task</h1>" in html


def test_a_description_keeps_its_markdown() -> None:
    description = (
        "# Task\n\nPredict `y` by $a < b$ | [data](https://kaggle.com).\n\n```csv\nid,y\n```"
    )

    assert without_html(description) == description.replace("csv", "")
