"""Write the data card: what is in a data set, where it comes from, and what was left out.

The sections follow Gebru et al., Datasheets for Datasets, Communications of the ACM, 2021, as far
as recorded episodes answer them.
"""

from collections import Counter
from typing import TYPE_CHECKING

from kernel_env.errors import KernelEnvError
from kernel_env.export.selection import SPLITS, Filters, Selection, data_of, split_of
from kernel_env.tasks import catalog, spec
from kernel_env.untrusted_text import Markdown

if TYPE_CHECKING:
    from kernel_env.export.dataset import Exported

LINE = Markdown("\n")
FORMS = {
    "sft": Markdown(
        "One conversation per episode, in JSON lines: `prompt`, `completion`, `tools`. The replies"
        " of the tools in `completion` were not written by the model: mask them."
    ),
    "rl": Markdown(
        "One transition per step of the agent, in JSON lines: `observation`, `action`, `reward`,"
        " `next_observation`, `done`. Rows of one `group` continue the same state."
    ),
    "atif": Markdown(
        "One trajectory per episode, in ATIF v1.8 (Agent Trajectory Interchange Format), a JSON"
        " file each. Steps with `is_copied_context` belong to an earlier episode: do not learn"
        " them."
    ),
}
"""What each format holds."""
NOTES = Markdown(
    """\
- Each observation after a step is the text that the agent was shown, computed from the journal.
- The first message is made of the task's description, its rules and its budget. What the agent read
  of the machine, of the list of files and of their paths is not recorded.
- Private scores are in no observation, unless an episode was played with the feedback `both`. The
  field `place` is the private place; do not show it to a model.
- What people did in an episode is in no action; the agent's next observation tells of it.
- Code, outputs and texts were written by models and programs, and are not checked.
- A model that learned from a task's episodes cannot be measured on that task any more."""
)


def card(exported: "Exported", selection: Selection, filters: Filters, valid: float) -> str:
    """Return the data card, as Markdown."""
    runs = selection.runs
    tasks = Counter((run.header.task, data_of(run.header)) for run in runs)
    parts = [
        Markdown("# Recorded episodes of kernel\\_env, format {}").format(exported.format),
        FORMS[exported.format],
        Markdown("## Counts"),
        table(
            ("split", "episodes", "rows", "steps of the agents"),
            [(s, exported.episodes[s], exported.rows[s], exported.steps[s]) for s in SPLITS],
        ),
        Markdown(
            "Tasks are split by a hash of their names, {} of them for validation; a small variant"
            " is where its large task is."
        ).format(Markdown(f"{valid:.0%}")),
        Markdown("## Tasks and licences"),
        Markdown("The licence is that of a task's data, which observations quote."),
        table(
            ("task", "split", "episodes", "licence", "data"),
            [
                (task, split_of(data, valid), number, *licence_of(task))
                for (task, data), number in sorted(tasks.items())
            ],
        ),
        Markdown("## Agents and models"),
        table(
            ("agent", "model", "kernel_env", "episodes"),
            [
                (*key, number)
                for key, number in sorted(
                    Counter(
                        (r.header.agent, r.header.model, r.header.version) for r in runs
                    ).items()
                )
            ],
        ),
        Markdown("The terms of a model's service can forbid to train other models on its answers."),
        Markdown("## Filters"),
        LINE.join(Markdown("- {}").format(Markdown(line)) for line in filters.describe()),
        table(("left out because", "episodes"), sorted(selection.left_out.items()))
        if selection.left_out
        else Markdown("No run was left out."),
        Markdown("## What to know"),
        NOTES,
    ]
    return Markdown("\n\n").join(parts) + "\n"


def licence_of(task: str) -> tuple[str, str]:
    """Return the licence and the origin of a task's data, as far as this machine knows the task."""
    try:
        folder = catalog.task_folders().get(task)  # a journal cannot name a folder
        file = spec.load(folder).file if folder else None
    except KernelEnvError:
        file = None
    if file is None:
        return "unknown: the task is not on this machine", ""
    return file.licence or "not stated", file.source or ""


def table(columns: tuple[str, ...], rows: list[tuple[str | int, ...]]) -> Markdown:
    """Return a table."""
    lines = [columns, ("---",) * len(columns), *rows]
    return LINE.join(
        Markdown("| {} |").format(Markdown(" | ").join(map(in_cell, line))) for line in lines
    )


def in_cell(value: str | int) -> Markdown:
    """Return a value that stays in its cell of a table."""
    text = Markdown("{}").format(value)
    return Markdown(text.replace("|", "¦"))
