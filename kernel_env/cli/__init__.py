"""Run the command line: one module per command, which parses options, calls and prints.

Results go to stdout, messages and progress to stderr. With `--json`, stdout has only JSON.
An error is one line on stderr and a non-zero exit code.
"""

import functools
import signal
import sys
import warnings

import typer

from kernel_env.cli import bench, doctor, export, images, replay, report, run, setup, tasks
from kernel_env.cli.console import fail, print_message

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Run agents that do machine-learning engineering on a persistent Jupyter kernel inside a"
    " sealed container.",
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
    """Interrupt the command as Ctrl-C does, also where SIGINT is ignored (a background job)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    """Run `kernel-env`. SIGTERM and SIGHUP clean up as Ctrl-C does."""
    from kernel_env.errors import KernelEnvError, UsageError

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP: keep that
            signal.signal(number, interrupt)
    print_once = functools.cache(print_message)
    warnings.showwarning = lambda message, *_: print_once(f"WARNING: {message}")
    try:
        app()
    except KernelEnvError as error:
        fail(str(error), code=2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # the reader of stdout has closed it, as `head` does
        sys.stderr.close()
        sys.exit(1)
