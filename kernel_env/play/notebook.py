"""Write the notebook that a person begins with: the task, the rules, and functions to use."""

from collections.abc import Mapping
from pathlib import Path

import nbformat

from kernel_env.episode.episode import Episode
from kernel_env.play.kernel import ASKED
from kernel_env.untrusted_text import Markdown, code_span, without_html

NOTEBOOK = "play/play.ipynb"
"""The person's notebook in the folder of the episode; the record of the episode is another one. Its
folder has nothing else, because a Jupyter program shows what is beside a notebook."""
RULES = Markdown(
    """# {task}: you play

Each cell that you run is a step. The budget is {steps} steps and {seconds:.0f} s, and the clock
runs while you think; a cell can run for {cell_seconds:.0f} s. Write your predictions to {output}
in a cell: the file is graded when the cell has ended. {rules}

| | |
|---|---|
| `%budget` | what is left, and your best score; takes no step |
| `%submit TABLE` | write a table as the submission; `%submit` alone shows the latest result |
| `%task all` | read about the task: files, columns, sample submission; takes a step |
| `%history 3` | show the latest steps again; takes a step |

A magic is the only line of its cell. The functions in the cell below do the same.

**Restart** is the action `reset`: a fresh kernel in an empty workspace, and a step. When you are
done, **shut down** the kernel, or press Ctrl-C in the terminal: the episode ends, and its result is
printed there. The record of the episode is `trajectory.ipynb`, not this notebook."""
)
FUNCTIONS = f'''import os

from IPython.display import display

DATA, OUTPUT = os.environ["DATA_PATH"], os.environ["OUTPUT_PATH"]


def submit(table):
    """Write a pandas table as the submission; it is graded when the cell has ended."""
    table.to_csv(OUTPUT, index=False)


def ask(command, argument=""):
    """Show what a magic shows, below this cell."""
    request = {{"command": command, "argument": str(argument)}}
    display({{"text/plain": f"%{{command}} {{argument}}", "{ASKED}": request}}, raw=True)


def budget():
    ask("budget")


def task(part="overview"):
    ask("task", part)


def history(last=5):
    ask("history", last)


os.listdir(DATA)'''


def write_notebook(episode: Episode, kernelspec: Mapping[str, str]) -> Path:
    """Write the notebook into the folder of an episode.

    Args:
        episode: the episode that has begun.
        kernelspec: the kernel that Jupyter selects: its name, display name and language.

    Raises `OSError`.
    """
    budget, task = episode.setup.budget, episode.setup.task
    rules = RULES.format(
        task=task.file.name,
        steps=budget.steps,
        seconds=budget.seconds,
        cell_seconds=budget.cell_seconds,
        output=code_span(episode.info("output_path")),
        rules=episode.rules_text,
    )
    cells = [
        nbformat.v4.new_markdown_cell(str(rules)),
        nbformat.v4.new_markdown_cell(str(without_html(task.description))),
        nbformat.v4.new_code_cell(FUNCTIONS),
        nbformat.v4.new_code_cell(""),
    ]
    metadata = {"kernelspec": dict(kernelspec), "language_info": {"name": "python"}}
    path = episode.folder / NOTEBOOK
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path
