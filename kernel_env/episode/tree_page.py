"""Show an episode and its forks as a tree: a page with scores, code and plots of each branch.

The steps that a fork shares with its parent are shown once, on the parent's branch. The page needs
no network and nothing in it runs; it links to the notebooks beside it.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from kernel_env.episode import html_page
from kernel_env.episode.journal import JOURNAL, read_journal
from kernel_env.episode.notebook import NOTEBOOK, OUTPUT_CHARACTERS
from kernel_env.episode.observation import output_text, rounded_text
from kernel_env.episode.step import Graded, Progress, Rejected, Step
from kernel_env.episode.trajectory import Trajectory
from kernel_env.episode.visible_outputs import PICTURES, visible
from kernel_env.errors import UsageError
from kernel_env.untrusted_text import clipped, escape_line, escape_lines

TREE = "tree.html"
"""File name of the page, beside the folders of its episodes."""
ACROSS, DOWN, MARGIN = 44, 46, 30
"""Distance of steps and of branches in the drawing, and its margin, pixels."""
STYLE = f"""{html_page.STYLE}
svg {{ display: block; font: 11px system-ui, sans-serif; }}
.drawing {{ overflow: auto; border: 1px solid #d0d7de; border-radius: 6px; }}
.line {{ fill: none; stroke: #8c959f; stroke-width: 1.5; }}
.step {{ fill: #fff; stroke: #8c959f; stroke-width: 1.5; }}
.error {{ stroke: #cf222e; }}
.graded {{ fill: #0969da; stroke: #0969da; }}
.rejected {{ fill: #cf222e; stroke: #cf222e; }}
.best {{ fill: #bc4c00; stroke: #bc4c00; }}
text {{ fill: #57606a; text-anchor: middle; }}
text.name {{ text-anchor: start; }}
details {{ margin: .3em 0 .3em 1em; }}
pre {{ background: #f6f8fa; }}
"""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """An episode of a tree: its own steps, and where it left its parent."""

    trajectory: Trajectory
    folder: Path
    parent: str
    """The parent's name; empty for the first episode, and if the parent is not among the runs."""
    shared: int
    """How many steps it shares with its parent."""

    @property
    def name(self) -> str:
        """Return the episode's name."""
        return self.trajectory.header.episode

    @property
    def steps(self) -> Sequence[Step]:
        """Return the steps of its own."""
        return self.trajectory.steps[self.shared :]

    @property
    def best(self) -> tuple[int, float] | None:
        """Return step and public score of its best submission; None if none was graded."""
        progress = Progress(higher_is_better=self.trajectory.header.higher_is_better)
        for step in self.trajectory.steps:
            progress = progress.after(step)
        return (progress.best.step, progress.best.grade.public_score) if progress.best else None


def read_branches(folders: Iterable[Path]) -> list[Branch]:
    """Read the episodes of a tree, each after its parent. Raises `UsageError`."""
    found = {}
    for folder in folders:
        trajectory = read_journal(folder / JOURNAL)
        found[trajectory.header.episode] = (trajectory, folder)
    branches = []
    for trajectory, folder in found.values():
        fork = trajectory.header.fork
        known = fork is not None and fork.episode in found
        branches.append(
            Branch(
                trajectory=trajectory,
                folder=folder,
                parent=fork.episode if fork and known else "",
                shared=fork.step if fork and known else 0,
            )
        )
    return list(in_order(branches))


def in_order(branches: Sequence[Branch]) -> Iterator[Branch]:
    """Yield branches depth first, those that leave their parent late before those that do early.

    Raises `UsageError` if an episode is its own ancestor.
    """
    children: dict[str, list[Branch]] = {}
    for branch in branches:
        children.setdefault(branch.parent, []).append(branch)
    waiting = sorted(children.get("", []), key=lambda b: b.name, reverse=True)
    count = 0
    while waiting:
        branch = waiting.pop()
        count += 1
        yield branch
        waiting += sorted(children.get(branch.name, []), key=lambda b: (b.shared, b.name))
    if count < len(branches):
        raise UsageError("these episodes are forks of each other; their journals are not valid")


def tree_page(branches: Sequence[Branch], beside: Path) -> str:
    """Return the page of a tree.

    Args:
        branches: its episodes, from `read_branches`, at least one.
        beside: the folder of the page, to which its links are relative.
    """
    header = branches[0].trajectory.header
    known = [branch for branch in branches if branch.best]
    better = max if header.higher_is_better else min
    best = better(known, key=lambda branch: branch.best[1]) if known else None  # type: ignore[index]
    title = f"{header.task_name}: {len(branches)} branches"
    told = "no submission was graded"
    if best and best.best:
        step, score = best.best
        told = f"best public score {rounded_text(score)}, step {step} of {link(best, beside)}"
    metric = f"{header.metric}, {'higher' if header.higher_is_better else 'lower'} is better"
    parts = [
        f"<h1>{quoted(title)}</h1>",
        f"<p>{told} ({quoted(metric)}). Filled dots are graded submissions.</p>",
        f'<div class="drawing">{drawing(branches, best)}</div>',
        *(section(branch, beside) for branch in branches),
    ]
    return html_page.page(title, "\n".join(parts), STYLE)


def quoted(text: str) -> str:
    """Return a text for HTML, in one line."""
    return escape(escape_line(text))


def anchor(branch: Branch, step: int) -> str:
    """Return the name of a step's place in the page."""
    return quote(f"{branch.name}-{step}", safe="")


def link(branch: Branch, beside: Path) -> str:
    """Return a link to a branch's notebook."""
    target = os.path.relpath(branch.folder / NOTEBOOK, beside)
    return f'<a href="{escape(quote(target))}">{quoted(branch.name)}</a>'


def drawing(branches: Sequence[Branch], best: Branch | None) -> str:
    """Return the tree as SVG: a row for each branch, a column for each step."""
    rows = {branch.name: row for row, branch in enumerate(branches)}
    longest = max(len(branch.trajectory.steps) for branch in branches)
    width, height = 2 * MARGIN + ACROSS * longest + 190, 2 * MARGIN + DOWN * (len(branches) - 1)
    parts = []
    for branch in branches:
        y = MARGIN + DOWN * rows[branch.name]
        x = MARGIN + ACROSS * branch.shared
        end = MARGIN + ACROSS * len(branch.trajectory.steps)
        path = f"M {x} {y} H {end}"
        if branch.parent:
            above = MARGIN + DOWN * rows[branch.parent]
            path = f"M {x} {above} C {x + 16} {above}, {x} {y}, {x + 20} {y} H {max(end, x + 20)}"
        parts.append(f'<path class="line" d="{path}"/>')
    for branch in branches:
        y = MARGIN + DOWN * rows[branch.name]
        for step in branch.steps:
            x = MARGIN + ACROSS * step.number
            marked = best is branch and best.best is not None and best.best[0] == step.number
            parts.append(
                f'<a href="#{anchor(branch, step.number)}"><title>{quoted(title_of(step))}</title>'
                f'<circle class="{kind_of(step, best=marked)}" cx="{x}" cy="{y}" r="6"/></a>'
            )
            if isinstance(step.submission, Graded):
                score = escape(f"{step.submission.grade.public_score:.4g}")
                parts.append(f'<text x="{x}" y="{y - 11}">{score}</text>')
        end = MARGIN + ACROSS * len(branch.trajectory.steps)
        parts.append(f'<text class="name" x="{end + 14}" y="{y + 4}">{quoted(branch.name)}</text>')
    return f'<svg width="{width}" height="{height}" role="img">{"".join(parts)}</svg>'


def kind_of(step: Step, *, best: bool) -> str:
    """Return the CSS classes of a step's dot."""
    kinds = ["step"]
    if step.cell and (step.cell.error or step.cell.broke):
        kinds.append("error")
    match step.submission:
        case Graded():
            kinds.append("graded")
        case Rejected():
            kinds.append("rejected")
    return " ".join([*kinds, "best"] if best else kinds)


def title_of(step: Step) -> str:
    """Return a step in a line."""
    parts = [f"step {step.number}: {step.action.kind}"]
    if step.actor == "human":
        parts.append("by a person")
    if step.cell and step.cell.error:
        parts.append(step.cell.error.name)
    match step.submission:
        case Graded(grade=grade):
            parts.append(f"public score {rounded_text(grade.public_score)}")
        case Rejected():
            parts.append("submission rejected")
    return ", ".join(parts)


def section(branch: Branch, beside: Path) -> str:
    """Return the part of the page about a branch."""
    header, ending = branch.trajectory.header, branch.trajectory.ending
    where = f"forked from {branch.parent} after step {branch.shared}" if branch.parent else "first"
    if header.fork and not branch.parent:
        where = f"forked from {header.fork.episode}, which is not shown here"
    how = f"{ending.status}: {ending.reason}" if ending else "not ended"
    private = ending.grade.private_score if ending and ending.grade else None
    scores = f", private score {rounded_text(private)}" if private is not None else ""
    parts = [
        f"<h2>{link(branch, beside)}</h2>",
        f"<p>{quoted(where)}; {quoted(how)}{quoted(scores)}</p>",
        *(details(branch, step) for step in branch.steps),
    ]
    return "\n".join(parts)


def details(branch: Branch, step: Step) -> str:
    """Return the part of the page about a step: its code, text and pictures."""
    parts = []
    if step.thought:
        parts.append(f"<p><em>{quoted(step.thought)}</em></p>")
    if code := getattr(step.action, "code", ""):
        parts.append(f"<pre>{block(code)}</pre>")
    for output in visible(step.cell.outputs) if step.cell else ():
        data = output.get("data", {})
        kinds = [kind for kind in PICTURES if kind in data]
        if kinds:
            picture = escape("".join(data[kinds[0]].split()))
            parts.append(f'<img alt="output" src="data:{kinds[0]};base64,{picture}">')
        elif text := output_text(output).rstrip("\n"):
            parts.append(f"<pre>{block(text)}</pre>")
    name, title = anchor(branch, step.number), quoted(title_of(step))
    place = f'<span id="{name}"></span>'  # browsers open what a link leads into
    return f"<details><summary>{title}</summary>{place}{''.join(parts)}</details>"


def block(text: str) -> str:
    """Return a text of several lines for HTML."""
    return escape(clipped(escape_lines(text), OUTPUT_CHARACTERS))


def write_tree(folders: Iterable[Path], path: Path) -> None:
    """Write the page of the episodes in some folders. Raises `UsageError`, `SandboxError`."""
    html_page.write_page(tree_page(read_branches(folders), path.parent), path)
