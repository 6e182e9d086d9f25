"""Run the command line: one module per command, which parses options, calls and prints.

Results go to stdout, messages and progress to stderr. With `--json`, stdout has only JSON.
An error is one line on stderr and a non-zero exit code.
"""

import functools
import signal
import sys
import traceback
import warnings
from typing import Annotated, Any, NoReturn

import typer

from kernel_env.cli import (
    attach,
    audit,
    bench,
    doctor,
    export,
    images,
    kernelspec,
    play,
    replay,
    report,
    run,
    runs,
    serve,
    setup,
    suite,
    tasks,
)
from kernel_env.cli import (
    open as open_notebook,
)
from kernel_env.cli.console import fail, print_error, print_message, print_result

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Run agents that do machine-learning engineering on a persistent Jupyter kernel inside a"
    " sealed container.",
)
app.command("run")(run.run)
app.command("play")(play.play)
app.command("attach")(attach.attach)
app.command("audit")(audit.audit)
app.command("replay")(replay.replay)
app.add_typer(export.app, name="export")
app.command("open")(open_notebook.open_)
app.command("serve")(serve.serve)
app.command("runs")(runs.runs)
app.command("report")(report.report)
app.command("bench")(bench.bench)
app.add_typer(suite.app, name="suite")
app.add_typer(tasks.app, name="tasks")
app.add_typer(images.app, name="images")
app.add_typer(kernelspec.app, name="kernelspec")
app.command("doctor")(doctor.doctor)
app.command("setup")(setup.setup)


def interrupt(*_: object) -> None:
    """Interrupt the command as Ctrl-C does, also where SIGINT is ignored (a background job)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def print_version(requested: bool) -> None:
    """Print the version and exit, if it was requested."""
    if requested:
        from importlib.metadata import version

        print_result(f"kernel-env {version('kernel-env')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options of no command."""


CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The errors of the command line's parser, which is in a package or in a part of Typer."""


def main() -> None:
    """Run `kernel-env`. SIGTERM and SIGHUP clean up as Ctrl-C does."""
    from kernel_env.errors import KernelEnvError, UsageError

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP: keep that
            signal.signal(number, interrupt)
    print_once = functools.cache(print_message)
    warnings.showwarning = lambda message, *_: print_once(f"WARNING: {message}")
    command = typer.main.get_command(app)
    try:
        sys.exit(command.main(prog_name="kernel-env", standalone_mode=False))
    except KernelEnvError as error:
        fail(str(error), code=2 if isinstance(error, UsageError) else 1)
    except CLICK_ERROR as error:
        fail_to_parse(error)
    except (typer.Abort, KeyboardInterrupt):
        fail("interrupted", code=130)
    except BrokenPipeError:  # the reader of stdout has closed it, as `head` does
        sys.stderr.close()
        sys.exit(1)
    except Exception:  # noqa: BLE001 - a bug: its text can come from anywhere
        print_error(traceback.format_exc())
        sys.exit(1)


def fail_to_parse(error: Any) -> NoReturn:
    """Print what is wrong with a command line in one line, and exit."""
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help
        print_error(message)
        sys.exit(error.exit_code)
    context = getattr(error, "ctx", None)
    help_ = f"; see {context.command_path} --help" if context else ""
    fail(f"{message[:1].lower()}{message[1:].rstrip('.')}{help_}", code=error.exit_code)
