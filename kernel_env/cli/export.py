"""Implement `kernel-env export`: write an episode's notebook, or episodes as training data."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kernel_env.cli.console import print_json, print_message, print_result


class NotebookByDefault(TyperGroup):
    """Commands of which `notebook` need not be named: `export RUN` is `export notebook RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the name of the command where it is missing."""
        from kernel_env.errors import UnknownName

        named = args[:1] in [[name] for name in (*self.commands, "--help")]
        words = [word for word in args[:2] if not word.startswith("-")]
        if not named and len(words) == 2 and not Path(words[0]).exists():
            raise UnknownName("format", words[0], self.commands)
        return super().parse_args(ctx, args if named else ["notebook", *args])

    @property
    def default_command(self) -> Any:
        """Return the command that need not be named."""
        return self.commands["notebook"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of the command that need not be named, and the other commands."""
        self.default_command.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


app = typer.Typer(
    cls=NotebookByDefault,
    help="Write the notebook of an episode (export RUN), or episodes as training data (export"
    " sft|rl|atif RUN…), or for a viewer (export inspect RUN…).",
)


@app.command("notebook")
def notebook(
    journal: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run, its journal or notebook.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The file (default: trajectory.ipynb, or .html, in the run's folder)."),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Write an HTML page instead (needs the extra html).")
    ] = False,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Sign the notebook as yours with this Ed25519 key."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write the notebook of an episode, whether or not it has ended. `export RUN` does the same."""
    from kernel_env.cli.verification import read_key, refuse_changed, sign_notebook
    from kernel_env.episode.html_page import write_page
    from kernel_env.episode.notebook import NOTEBOOK, render, write_notebook
    from kernel_env.episode.reading import read_trajectory, source_of
    from kernel_env.errors import UsageError
    from kernel_env.report.page import page_of

    if html and sign:
        raise UsageError("--sign is for notebooks; a page has no place for a signature")
    key = read_key(sign) if sign else None
    if key is not None:
        refuse_changed(source_of(journal))
    trajectory = read_trajectory(journal)
    kind, file = "notebook", out or source_of(journal).with_name(NOTEBOOK)
    if html:
        kind, file = "page", out or file.with_suffix(".html")
        write_page(page_of(render(trajectory)), file)
    else:
        write_notebook(trajectory, file)
        if key is not None:
            sign_notebook(file, key, "made")
    if json:
        print_json({kind: str(file), "steps": len(trajectory.steps)})
    else:
        print_result(f"{kind}: {file}")


DATA_SETS = {
    "sft": "Write conversations with tool calls, one per episode, for supervised fine-tuning.",
    "rl": "Write transitions, one per step, for reinforcement learning.",
    "atif": "Write trajectories in ATIF v1.8, one file per episode.",
}
"""The formats of training data, with the help of their commands."""


def data_set(form: str) -> Callable[..., None]:
    """Return the command that writes a data set of a format."""

    def command(
        runs: Annotated[
            list[Path],
            typer.Argument(metavar="RUN…", help="Folders of runs, searched recursively."),
        ],
        out: Annotated[
            Path | None,
            typer.Option(metavar="FOLDER", help=f"The new folder (default: export-{form})."),
        ] = None,
        best: Annotated[
            int | None, typer.Option(help="Keep so many episodes of each task, the best ones.")
        ] = None,
        min_place: Annotated[
            float | None,
            typer.Option(help="Keep what beats this share of the private leaderboard, 0 to 1."),
        ] = None,
        reproduced: Annotated[
            bool,
            typer.Option(
                "--reproduced",
                help="Keep runs whose folder has a verification.json with the verdict REPRODUCED.",
            ),
        ] = False,
        unflagged: Annotated[
            bool,
            typer.Option("--unflagged", help="Keep runs without a flag of kernel-env audit."),
        ] = False,
        duplicates: Annotated[
            bool,
            typer.Option("--duplicates", help="Keep episodes with the same actions as another."),
        ] = False,
        valid: Annotated[
            float, typer.Option(help="Share of the tasks that is for validation, 0 to 1.")
        ] = 0.0,
        json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    ) -> None:
        from kernel_env.export import Filters, export

        filters = Filters(
            best=best,
            min_place=min_place,
            reproduced=reproduced,
            unflagged=unflagged,
            duplicates=duplicates,
        )

        def skip(run: Path, reason: str) -> None:
            print_message(f"{run}: left out: {reason}")

        folder = out or Path(f"export-{form}")
        done = export(runs, folder, form, filters=filters, valid=valid, skip=skip)
        if json:
            print_json(done.json())
            return
        for split, rows in done.rows.items():
            print_result(f"{split}: {rows} rows of {done.episodes[split]} episodes")
        for reason, number in done.left_out.items():
            print_result(f"left out: {number} {reason}")
        print_result(f"data set: {folder}")

    return command


for name, text in DATA_SETS.items():
    app.command(name, help=text)(data_set(name))


@app.command("inspect")
def inspect(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Folders of runs, searched recursively.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder of the logs.")] = Path(
        "export-inspect"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write logs that the viewer of Inspect AI opens (needs the extra inspect)."""
    from kernel_env.adapters.inspect_log import write_logs

    def skip(run: Path, reason: str) -> None:
        print_message(f"{run}: left out: {reason}")

    files = write_logs(runs, out, skip=skip)
    if json:
        print_json({"logs": [str(file) for file in files]})
        return
    for file in files:
        print_result(f"log: {file}")
    print_message(f"to see them: inspect view --log-dir {out}")
