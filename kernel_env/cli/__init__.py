"""The command line: each command in a file of its own, which parses, calls and prints.

Answers go to stdout, talk and progress to stderr. With `--json`, stdout holds JSON
alone. An error is one line and a non-zero exit.
"""

import functools
import signal
import sys
import warnings

import typer

from kernel_env.cli import bench, doctor, export, images, replay, report, run, setup, tasks
from kernel_env.cli.console import fail, note

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Agents do machine-learning engineering on a live Jupyter kernel in a sealed container.",
)
app.command("run")(run.run)
app.command("replay")(replay.replay)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("bench")(bench.bench)
app.add_typer(tasks.app, name="tasks")
app.add_typer(images.app, name="images")
app.command("doctor")(doctor.doctor)
app.command("setup")(setup.setup)


def interrupt(*_: object) -> None:
    """End as Ctrl-C does, also in the background, where a shell has Ctrl-C ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    """The entry point of `kernel-env`. `kill`, and a terminal that closes, leave nothing behind."""
    from kernel_env.errors import KernelEnvError, UsageError

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup's wish is respected
            signal.signal(number, interrupt)
    once = functools.cache(note)
    warnings.showwarning = lambda message, *_: once(f"WARNING: {message}")
    try:
        app()
    except KernelEnvError as error:
        fail(str(error), code=2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        sys.exit(1)
