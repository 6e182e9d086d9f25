"""Write the Markdown cells of a notebook.

All that is not ours stands in code spans and fenced blocks.
"""

from collections.abc import Iterable, Sequence

from kernel_env.episode import json_codec
from kernel_env.episode.budget import Spent
from kernel_env.episode.observation import (
    MAX_LISTED,
    describe_place,
    describe_recovery,
    describe_variable,
    remarks,
    rounded_text,
    submission_lines,
)
from kernel_env.episode.step import CodeValidated, Graded, InfoShown, KernelReset, Rejected, Step
from kernel_env.episode.trajectory import Ending, Fork, Header, Note, Trajectory
from kernel_env.grading.grade import Grade, Place
from kernel_env.grading.leaderboard import human_rank
from kernel_env.kernel.cell import Cell, Variable
from kernel_env.untrusted_text import Markdown, code_span, fenced, quote_name, without_html

PARAGRAPH, LINE = Markdown("\n\n"), Markdown("\n")
DOT = Markdown(" · ")
LONG_TEXT = 1_500
"""A task's description with more characters is folded."""
WHOSE_CODE = Markdown(
    "{author} wrote the code below, and what it displays is its own too. **To run it again in a"
    " sealed container: `kernel-env replay` with this file**, and `--verify` to learn whether the"
    " score follows from the code. Run All, in Jupyter or elsewhere, runs it as you, with your"
    " files and your network, unless the kernel is one of `kernel-env kernelspec`."
)
BOARDS = {
    "human": Markdown("the human teams of a competition"),
    "reference": Markdown("reference pipelines of kernel\\_env, no human teams"),
}
"""What the entries of a leaderboard are, by its kind."""


# ── the beginning ─────────────────────────────────────────────────────────────────────────


def summary(trajectory: Trajectory, chart: str | None) -> Markdown:
    """Return the text of the first cell: the result at a glance.

    Args:
        trajectory: the episode.
        chart: the name of the attachment with the chart of scores; None without one.
    """
    header, ending = trajectory.header, trajectory.ending
    people = sum(step.actor == "human" for step in trajectory.steps)
    rows = [
        ("Task", Markdown("{} ({})").format(header.task_name, code_span(header.task))),
        ("Agent", code_span(header.agent) if header.agent else Markdown("a program")),
        *([("Model", code_span(header.model))] if header.model else []),
        ("Started", Markdown("{} (UTC), seed {}").format(started(header), header.seed)),
        ("Status", status(ending)),
        *score_rows(header, ending),
        ("Spent", spent(header, ending, len(trajectory.steps) - people)),
        *([("People", Markdown("took {} steps").format(people))] if people else []),
        ("Ran in", environment(header)),
    ]
    table = [Markdown("| | |"), Markdown("|---|---|")]
    table += [Markdown("| **{}** | {} |").format(name, in_table(value)) for name, value in rows]
    author = Markdown("The agent {}").format(code_span(header.agent))
    if not header.agent:
        author = Markdown("A program")
    if header.model:
        author = Markdown("{} with the model {}").format(author, code_span(header.model))
    missing = ending.missing if ending else ""
    picture = Markdown("![Public score over steps](attachment:{})").format(Markdown(chart or ""))
    return PARAGRAPH.join(
        [
            Markdown("# {}").format(headline(header, ending)),
            LINE.join(table),
            *([picture] if chart else []),
            *([Markdown("⚠ On this machine, {}.").format(missing)] if missing else []),
            *([describe_fork(header.fork)] if header.fork else []),
            WHOSE_CODE.format(author=author),
        ]
    )


def in_table(value: Markdown) -> Markdown:
    """Return Markdown that stays in its cell of a table."""
    return Markdown(value.replace("|", "¦").replace("\n", " "))


def started(header: Header) -> Markdown:
    """Return when an episode began."""
    return Markdown("{}").format(header.started.removesuffix("+00:00").replace("T", " "))


def headline(header: Header, ending: Ending | None) -> Markdown:
    """Return the result in a line."""
    name = Markdown("{}").format(header.task_name)
    if ending is None:
        return Markdown("{}: not ended").format(name)
    if ending.grade is None:
        return Markdown("{}: no score").format(name)
    scores = Markdown("public score {}").format(rounded_text(ending.grade.public_score))
    if ending.grade.private_score is not None:
        private = rounded_text(ending.grade.private_score)
        scores = Markdown("{}, private score {}").format(scores, private)
    return Markdown("{}: {}").format(name, scores)


def status(ending: Ending | None) -> Markdown:
    """Return how an episode ended."""
    if ending is None:
        return Markdown("not ended: it is running, or the program that ran it was killed")
    return Markdown("{}: {}").format(ending.status.replace("_", " "), ending.reason)


def score_rows(header: Header, ending: Ending | None) -> list[tuple[str, Markdown]]:
    """Return the rows of the summary with the final scores and their places."""
    if ending is None or ending.grade is None:
        return [("Score", Markdown("no submission was graded"))]
    grade = ending.grade
    better = "higher" if header.higher_is_better else "lower"
    kind = BOARDS.get(header.leaderboard_kind, header.leaderboard_kind)
    rows = [
        ("Public score", scored(grade.public_score, grade.public)),
        *(
            [("Private score", scored(grade.private_score, grade.private))]
            if grade.private_score is not None
            else []
        ),
        ("Metric", Markdown("{}; {} is better").format(header.metric, Markdown(better))),
        *([("Leaderboard", Markdown("{}").format(kind))] if grade.public else []),
    ]
    rank = human_rank(grade.public, grade.private)
    if header.leaderboard_kind == "human" and rank is not None:
        told = Markdown("{:.4f}, as MLE-Dojo computes it").format(rank)
        rows.append(("HumanRank", told))
    return rows


def scored(score: float, place: Place | None) -> Markdown:
    """Return a score with its place."""
    told = Markdown("**{}**").format(rounded_text(score))
    return Markdown("{}, {}").format(told, Markdown(describe_place(place))) if place else told


def spent(header: Header, ending: Ending | None, steps: int) -> Markdown:
    """Return what an episode used of its budget: steps, time, tokens, dollars."""
    parts = [Markdown("{} of {} steps").format(steps, header.budget.steps)]
    if ending is not None:
        seconds, limit = ending.spent.seconds, header.budget.seconds
        parts.append(Markdown("{:.0f} of {:.0f} s").format(seconds, limit))
        parts += model_usage(ending.spent, Spent())
    return Markdown(", ").join(parts)


def environment(header: Header) -> Markdown:
    """Return where an episode ran."""
    inside = [
        *([Markdown("{:g} cores").format(header.cpus)] if header.cpus else []),
        *([Markdown("{:.3g} GiB").format(header.memory_gb)] if header.memory_gb else []),
        *([Markdown("{} GPUs").format(header.gpus)] if header.gpus else []),
    ]
    sandbox = Markdown("the sandbox {}").format(code_span(header.sandbox))
    if not header.isolated:
        sandbox = Markdown("{}, which does not isolate").format(sandbox)
    image = Markdown("image {}").format(code_span(header.image_digest or header.image))
    host = [Markdown("on {}").format(header.host)] if header.host else []
    version = [Markdown("kernel_env {}").format(header.version)] if header.version else []
    return Markdown(", ").join([sandbox, image, *inside, *host, *version])


def describe_fork(fork: Fork) -> Markdown:
    """Describe where an episode was forked from."""
    how = {
        "copy": Markdown("its kernel was forked from that one"),
        "replay": Markdown("{} cells were replayed to reach that step").format(fork.cells),
    }[fork.how]
    seed = Markdown(" Its random states start from {} there.").format(fork.seed)
    lost = Markdown(" The replay did not reproduce everything: {}.").format(fork.lost)
    return Markdown(
        "🌿 Forked from episode {} after step {}: earlier steps belong to both, and {}.{}{}"
    ).format(
        code_span(fork.episode),
        fork.step,
        how,
        seed if fork.seed else Markdown(),
        lost if fork.lost else Markdown(),
    )


def task_text(header: Header) -> Markdown:
    """Return the task's description; a long one is folded."""
    text = without_html(header.description)
    if len(text) <= LONG_TEXT:
        return text
    return Markdown("<details><summary>The task: {}</summary>\n\n{}\n\n</details>").format(
        header.task_name, text
    )


# ── steps and notes ───────────────────────────────────────────────────────────────────────


def note_text(note: Note, before: Spent) -> Markdown:
    """Return the text of a note, and what the model used since `before`."""
    title = {
        "instructions": Markdown(
            "<details><summary>Instructions of the agent</summary>\n\n{}\n\n</details>"
        ),
        "first_message": Markdown(
            "<details><summary>First message to the agent</summary>\n\n{}\n\n</details>"
        ),
        "refused": Markdown("The agent's answer was refused, because {reason}:\n\n{}"),
        "last_words": Markdown("The agent's last words:\n\n{}"),
    }[note.kind]
    used = [Markdown("<sub>{}</sub>").format(fact) for fact in model_usage(note.spent, before)]
    return PARAGRAPH.join([title.format(fenced(note.text), reason=note.reason), *used])


def thought_text(step: Step) -> Markdown:
    """Return the actor's reasoning before a step."""
    actor = Markdown("A person" if step.actor == "human" else "The agent")
    return Markdown("{} before step {}:\n\n{}").format(actor, step.number, fenced(step.thought))


def action_text(step: Step, before: Spent) -> Markdown:
    """Describe a step that ran no code."""
    used = [Markdown("<sub>{}</sub>").format(fact) for fact in model_usage(step.spent, before)]
    return PARAGRAPH.join([describe_action(step), *used, *remark_texts(step)])


def remark_texts(step: Step) -> list[Markdown]:
    """Return what a provider of feedback said of a step, and what that cost."""
    remark = step.remark
    if remark is None:
        return []
    cost = [
        *([Markdown("{:,} tokens").format(remark.tokens)] if remark.tokens else []),
        *([Markdown("{:.4f} US dollars").format(remark.money)] if remark.money else []),
    ]
    used = [Markdown("<sub>{}, not the agent's</sub>").format(DOT.join(cost))] if cost else []
    if remark.missing:
        missing = Markdown("No feedback by {}: {}").format(remark.source, remark.missing)
        return [missing, *used]
    if not remark.text:
        return used
    return [
        Markdown("💬 Feedback by {}:\n\n{}").format(remark.source, fenced(remark.text)),
        *used,
    ]


def describe_action(step: Step) -> Markdown:
    """Describe what an action without code did."""
    by = Markdown(" by a person" if step.actor == "human" else "")
    match step.outcome:
        case InfoShown(text=text):
            given = json_codec.action_json(step.action).items()
            arguments = ", ".join(f"{k}={v!r}" for k, v in given if k != "kind")
            title = Markdown("**Step {}{}:** {}").format(
                step.number, by, f"{step.action.kind}({arguments})"
            )
            return Markdown(
                "{}\n\n<details><summary>{:,} characters</summary>\n\n{}\n\n</details>"
            ).format(title, len(text), fenced(text))
        case KernelReset():
            return Markdown("**Step {}{by}: reset** — a fresh kernel, an empty workspace").format(
                step.number, by=by
            )
    return Markdown()


def code_text(step: Step, code: str, shown: Iterable[Markdown]) -> Markdown:
    """Return a cell as text, of a step that Run All must not run again.

    Args:
        step: a trial, or a step that was undone.
        code: its code.
        shown: its outputs.
    """
    if isinstance(step.outcome, CodeValidated):
        title = Markdown("**Step {}: validate_code.** It ran on a copy of the kernel, which was")
        title = Markdown("{} discarded; Run All leaves it out.").format(title)
    else:
        title = Markdown("**Step {}: this cell crashed the kernel** and was undone; Run All leaves")
        title = Markdown("{} it out.").format(title)
    return PARAGRAPH.join([title.format(step.number), fenced(code, "python"), *shown])


def model_usage(used: Spent, before: Spent) -> list[Markdown]:
    """Describe the tokens and dollars that were used since `before`; a guess is marked as one."""
    about = "about " if used.estimated_tokens > before.estimated_tokens else ""
    tokens, money = used.tokens - before.tokens, used.money - before.money
    return [
        *([Markdown("{}{:,} tokens").format(about, tokens)] if tokens > 0 else []),
        *([Markdown("{}{:.4f} US dollars").format(about, money)] if money > 0 else []),
    ]


def result_text(step: Step, cell: Cell, before: Spent, lasting: Sequence[Variable]) -> Markdown:
    """Describe the result of a code cell: a quiet line, then what a reader must not miss.

    Args:
        step: the step.
        cell: its cell.
        before: what the episode had used before it.
        lasting: its new variables that later cells use.
    """
    lines = [Markdown("<sub>{}</sub>").format(DOT.join(facts(step, cell, before, lasting)))]
    if isinstance(step.outcome, CodeValidated) and step.outcome.note:
        lines.append(Markdown("Trial: {}").format(step.outcome.note))
    match step.submission:
        case Graded(shown="score", grade=grade) as graded:
            place = f", {describe_place(grade.public)}" if grade.public else ""
            lines.append(
                Markdown("✅ **Submission graded: public score {:.6g}{}.**").format(
                    grade.public_score, place
                )
            )
            lines += [Markdown("{}").format(line) for line in submission_lines(graded)[1:]]
        case Graded(grade=grade) as graded:
            lines += [Markdown("✅ {}").format(line) for line in submission_lines(graded)]
            lines.append(
                Markdown("Not shown to the agent: public score {:.6g}.").format(grade.public_score)
            )
        case Rejected(reason=reason):
            lines.append(Markdown("⛔ **Submission rejected:** {}").format(reason))
    if cell.timed_out:
        lines.append(Markdown("⏱ Time limit reached after {:.1f} s.").format(cell.seconds))
    if cell.recovery:
        said = describe_recovery(cell.recovery)
        lines.append(Markdown("🛟 **Kernel restored:** {}").format(said))
    elif cell.broke:
        lines.append(Markdown("💥 The trial kernel crashed: {}").format(cell.broke))
    lines += [Markdown("Note: {}").format(line) for line in remarks(cell)]
    if step.state_lost:
        lines.append(Markdown("💥 **State lost:** {}").format(step.state_lost))
    if cell.late:
        lines.append(
            Markdown("Threads or programs of earlier cells printed (see the cell's metadata).")
        )
    return PARAGRAPH.join([*lines, *remark_texts(step)])


def facts(
    step: Step, cell: Cell, before: Spent, lasting: Sequence[Variable]
) -> list[Markdown | str]:
    """Return the parts of the quiet line of a code cell."""
    files = [f"{quote_name(f.path)} ({f.change}, {f.bytes:,} bytes)" for f in cell.files]
    found: list[Markdown | str] = [
        f"step {step.number}",
        Markdown(step.action.kind),
        *([Markdown("by a person")] if step.actor == "human" else []),
        f"{cell.seconds:.2f} s",
        *([f"reward {step.reward:.4g}: {step.reward_reason}"] if step.submission else []),
    ]
    for title, items in (
        ("files", files),
        ("new variables", [describe_variable(v) for v in lasting]),
    ):
        if items:
            more = f" and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
            found.append(f"{title}: {', '.join(items[:MAX_LISTED])}{more}")
    return [*found, *model_usage(step.spent, before)]


# ── the end ───────────────────────────────────────────────────────────────────────────────


def submissions_text(
    rows: Sequence[tuple[int, Graded | Rejected]], ending: Ending | None
) -> Markdown:
    """Return the table of all submissions of an episode."""
    chosen = ending.chosen_step if ending else None
    lines = [Markdown("## Submissions")]
    table = [Markdown("| step | public score | place | |"), Markdown("|---|---|---|---|")]
    for number, submission in rows:
        counts = Markdown("**counts**" if number == chosen else "")
        match submission:
            case Graded(grade=grade, shown=shown):
                place = describe_place(grade.public) if grade.public else "–"
                hidden = Markdown("" if shown == "score" else "not shown to the agent")
                table.append(
                    Markdown("| {} | {:.6g} | {} | {} |").format(
                        number, grade.public_score, place, counts or hidden
                    )
                )
            case Rejected(reason=reason):
                told = in_table(Markdown("rejected: {}").format(reason))
                table.append(Markdown("| {} | – | – | {} |").format(number, told))
    if ending and ending.grade and ending.grade.private_score is not None:
        lines.append(private_text(ending.grade, chosen))
    return PARAGRAPH.join([*lines, LINE.join(table)])


def private_text(grade: Grade, chosen: int | None) -> Markdown:
    """Describe the private score of the submission that counts."""
    assert grade.private_score is not None
    return Markdown("The submission of step {} counts; its private score is {}.").format(
        chosen, scored(grade.private_score, grade.private)
    )
