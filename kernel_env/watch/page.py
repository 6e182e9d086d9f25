"""Write the HTML of the pages. Everything that is not ours is escaped; there is no script.

A page of a running episode grows at its end. What changes (the budget, the scores, the list of
episodes) is written again, and a style hides the earlier version.
"""

import base64
import math
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import replace
from html import escape

from kernel_env.episode.chart import draw_scores
from kernel_env.episode.feedback import REMARK_CHARACTERS
from kernel_env.episode.observation import (
    cell_lines,
    code_lines,
    describe,
    describe_place,
    feedback_lines,
    output_text,
    rounded_text,
)
from kernel_env.episode.step import CellExecuted, CodeValidated, Graded, Rejected, Step
from kernel_env.episode.trajectory import Ending, Header
from kernel_env.episode.visible_outputs import is_picture
from kernel_env.kernel.cell import Output
from kernel_env.untrusted_text import Block, clipped, escape_line, escape_lines
from kernel_env.watch.follow import Followed

LIMIT_CHARACTERS = 16_000
"""Limit of a text; of a longer one head and tail are shown."""
MAX_OUTPUTS = 100
"""How many outputs of a step are shown."""
MAX_PICTURE_CHARACTERS = 8_000_000
STALE_S = 20
"""After so many seconds without a sign of life, a page says that it is not up to date."""
STYLE = """
:root{color-scheme:light dark;--line:#8884;--pale:#888}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;
 display:flex;flex-direction:column}
h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:.2rem 0;font-weight:600}
header{order:-2}.now,.question{order:-1;display:none}textarea{display:block;width:100%}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left}
section{border-top:1px solid var(--line);padding:.6rem 0}
pre{background:#8881;padding:.5rem;margin:.3rem 0;overflow:auto;max-height:30rem;
 white-space:pre-wrap;overflow-wrap:anywhere}
pre.out{background:none;border-left:3px solid var(--line)}
img{max-width:100%;background:#fff}.quiet{color:var(--pale);font-size:.85rem;margin:.1rem 0}
.score{font-weight:600}.person h2::after{content:" · by a person";color:#bc4c00}
#stale{position:fixed;bottom:0;left:0;right:0;background:#bc4c00;color:#fff;padding:.4rem 1rem;
 visibility:hidden}
"""


def text(value: str) -> str:
    """Return a text as HTML, in one line."""
    return escape(escape_line(value))


def lines(value: str) -> str:
    """Return a text of several lines as HTML; of a long one head and tail."""
    return escape(clipped(escape_lines(value[: 4 * LIMIT_CHARACTERS]), LIMIT_CHARACTERS))


class Page:
    """A page that is being written: what its parts need to know of each other."""

    def __init__(self, nonce: str) -> None:
        """`nonce` marks the page's own styles."""
        self._nonce = nonce
        self._versions: Counter[str] = Counter()

    def begin(self, title: str) -> str:
        """Return the beginning of the page."""
        return (
            f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{text(title)}</title>'
            f"{self._style(STYLE)}"
            f'<p id="stale">No sign of life for {STALE_S} s: the connection was lost. Reload the'
            " page; if it does not load, the run has ended.</p>"
        )

    def renew(self, content: str, kind: str = "now") -> str:
        """Return the new version of what changes, which hides the one of its kind before."""
        self._versions[kind] += 1
        version = self._versions[kind]
        hide = f"#{kind}{version - 1}{{display:none}}"
        return (
            f"{self._style(f'{hide}#{kind}{version}{{display:block}}')}"
            f'<div class="{kind}" id="{kind}{version}">{content}</div>'
        )

    def alive(self, number: int) -> str:
        """Return a sign of life: without the next one, the page says that it is not up to date."""
        keyframes = f"@keyframes s{number}{{to{{visibility:visible}}}}"
        return self._style(f"#stale{{animation:s{number} 1s {STALE_S}s forwards}}{keyframes}")

    def end(self, content: str) -> str:
        """Return the end of the page."""
        return f"{self._style('#stale{display:none}')}<section>{content}</section></html>"

    def _style(self, style: str) -> str:
        return f'<style nonce="{self._nonce}">{style}</style>'


# ── an episode ────────────────────────────────────────────────────────────────────────────


def episode_header(header: Header) -> str:
    """Return what is known of an episode before its first step."""
    by = " ".join(filter(None, (header.agent or "a program", header.model)))
    return (
        f'<header><h1>{text(header.task_name)}</h1><p class="quiet">{text(by)} · seed {header.seed}'
        f" · sandbox {text(header.sandbox)} · started {text(header.started)} ·"
        f" episode {text(header.episode)}</p><details><summary>The task</summary>"
        f"<pre>{lines(header.description)}</pre></details></header>"
    )


def standing(episode: Followed) -> str:
    """Return the budget, the best score, and the chart of scores."""
    header, progress = episode.header, episode.progress
    assert header is not None
    budget, spent = header.budget, progress.spent
    rows = [
        ("steps", f"{spent.steps} of {budget.steps}"),
        ("time", f"{spent.seconds:.0f} of {budget.seconds:.0f} s"),
    ]
    if spent.tokens or budget.tokens:
        rows.append(("tokens", f"{spent.tokens:,}{limit_text(budget.tokens)}"))
    if spent.money or budget.money:
        rows.append(("cost", f"${spent.money:.4f}{limit_text(budget.money)}"))
    if progress.submissions or budget.submissions:
        rows.append(("submissions", f"{progress.submissions}{limit_text(budget.submissions)}"))
    if progress.human_steps:
        rows.append(("steps of people", str(progress.human_steps)))
    if best := progress.best:
        place = f", {describe_place(best.grade.public)}" if best.grade.public else ""
        score = rounded_text(best.grade.public_score)
        rows.append((f"best {header.metric}", f"{score}{place} (step {best.step})"))
    cells = "".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>{chart(episode)}"


def answer_form(number: int, question: str) -> str:
    """Return a question to whoever reads the page, with a field for the answer."""
    return (
        f'<form method="post"><h2><label for="answer{number}">The agent waits for your feedback'
        f'</label></h2><pre>{lines(question)}</pre><textarea name="answer" id="answer{number}"'
        f' rows="3" maxlength="{REMARK_CHARACTERS}"></textarea>'
        f'<input type="hidden" name="question" value="{number}"><button>Send</button></form>'
    )


def limit_text(limit: float | None) -> str:
    """Return a limit as text."""
    return "" if limit is None else f" of {limit:,g}"


def chart(episode: Followed) -> str:
    """Return the chart of the agent's scores; empty if there is none."""
    header, progress = episode.header, episode.progress
    if not episode.scores or header is None:
        return ""
    picture = draw_scores(
        episode.scores,
        steps=progress.steps + progress.human_steps,
        metric=header.metric,
        higher_is_better=header.higher_is_better,
    )
    return image(base64.b64encode(picture).decode(), "Public score over steps")


def step_section(step: Step) -> str:
    """Return a step: thought, code, outputs, result, reward."""
    person = ' class="person"' if step.actor == "human" else ""
    parts = [f"<section{person}><h2>Step {step.number} · {text(step.action.kind)}</h2>"]
    if step.thought:
        parts.append(f"<details open><summary>Thought</summary><pre>{lines(step.thought)}</pre>")
        parts.append("</details>")
    parts += [f"<pre>{lines(block.text)}</pre>" for block in code_lines(step)]
    match step.outcome:
        case CellExecuted(cell=cell) | CodeValidated(cell=cell):
            parts += outputs(cell.outputs)
            parts += quiet(cell_lines(replace(cell, outputs=(), late=())))
        case _:
            parts += quiet(describe(step))
    match step.submission:
        case Graded(grade=grade):
            place = f", {describe_place(grade.public)}" if grade.public else ""
            own = "" if step.actor == "agent" else " (a person's; it does not count)"
            score = rounded_text(grade.public_score)
            line = f"Submission graded: public score {score}{place}{own}"
            parts.append(f'<p class="score">{text(line)}</p>')
        case Rejected(reason=reason):
            parts.append(f'<p class="score">{text(f"Submission rejected: {reason}")}</p>')
    if step.submission is not None:
        parts += quiet([f"reward {step.reward:.4g}: {step.reward_reason}"])
    parts += quiet(feedback_lines(step))
    return "".join([*parts, "</section>"])


def quiet(parts: Iterable[str | Block]) -> list[str]:
    """Return lines and blocks of an observation as HTML."""
    return [
        f'<p class="quiet">{text(part)}</p>'
        if isinstance(part, str)
        else f'<pre class="out">{lines(part.text)}</pre>'
        for part in parts
    ]


def outputs(found: tuple[Output, ...]) -> list[str]:
    """Return the outputs of a cell: text and PNG pictures."""
    parts = []
    for output in found[:MAX_OUTPUTS]:
        data = output["data"].get("image/png") if "data" in output else None
        picture = image(data, "A picture that the cell displayed") if data else ""
        shown = output_text(output).rstrip("\n")
        parts.append(picture or (f'<pre class="out">{lines(shown)}</pre>' if shown else ""))
    if len(found) > MAX_OUTPUTS:
        parts += quiet([f"[{len(found) - MAX_OUTPUTS:,} more outputs are in the journal]"])
    return parts


def image(encoded: object, description: str) -> str:
    """Return a PNG picture, given in Base64; empty if it is not one or too large."""
    if not isinstance(encoded, str) or len(encoded) > MAX_PICTURE_CHARACTERS:
        return ""
    if not is_picture("image/png", encoded):
        return ""
    again = "".join(encoded.split())
    return f'<img alt="{text(description)}" src="data:image/png;base64,{again}">'


def ending_text(ending: Ending) -> str:
    """Return how an episode ended."""
    parts = [f"<h2>{text(f'Ended: {ending.status}, {ending.reason}')}</h2>"]
    if grade := ending.grade:
        scores = [f"public score {rounded_text(grade.public_score)}"]
        if grade.private_score is not None:
            scores.append(f"private score {rounded_text(grade.private_score)}")
        if grade.private:
            scores.append(describe_place(grade.private))
        line = f"The submission of step {ending.chosen_step} counts: {', '.join(scores)}"
    else:
        line = "No submission was graded."
    return f'{"".join(parts)}<p class="score">{text(line)}</p>'


# ── the list of episodes ──────────────────────────────────────────────────────────────────


def episode_list(episodes: Iterable[Followed], asking: Container[str]) -> str:
    """Return a table of all episodes, each with a link to its page.

    Args:
        episodes: the episodes.
        asking: the names of those that wait for an answer.
    """
    rows = []
    for episode in episodes:
        header, progress, ending = episode.header, episode.progress, episode.ending
        if header is None:
            continue
        best = "–"
        if progress.best and math.isfinite(progress.best.grade.public_score):
            best = f"{header.metric} {rounded_text(progress.best.grade.public_score)}"
        status = "waits for your feedback" if episode.name in asking else "running"
        row = (
            f"{header.agent} {header.model}".strip(),
            str(header.seed),
            "cannot be read" if episode.damaged else ending.status if ending else status,
            f"{progress.spent.steps} of {header.budget.steps}",
            best,
        )
        cells = "".join(f"<td>{text(cell)}</td>" for cell in row)
        link = f'<a href="{text(episode.name)}/">{text(header.task_name)}</a>'
        rows.append(f"<tr><td>{link}</td>{cells}</tr>")
    if not rows:
        return "<p>No episode has begun yet.</p>"
    titles = ("task", "agent", "seed", "status", "steps", "best score")
    heads = "".join(f"<th>{title}</th>" for title in titles)
    return f"<table><tr>{heads}</tr>{''.join(rows)}</table>"
