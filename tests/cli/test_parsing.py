"""The parser of the command line speaks like the commands: one line, exit code 2."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from kernel_env.cli import main


def run(*argv: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Run the command line in this process; return its exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "argv", ["kernel-env", *argv])
    monkeypatch.setattr("warnings.showwarning", None)  # `main` sets it
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--bogus"], "no such option: --bogus; see kernel-env --help"),
        (["qqq"], "no such command 'qqq'; see kernel-env --help"),
        (["run", "--bogus"], "no such option: --bogus"),
        (["run"], "missing argument 'TASK…'; see kernel-env run --help"),
        (["run", "x"], "missing option '--agent'; see kernel-env run --help"),
        (["run", "x", "--agent", "baseline", "--seeds", "two"], "invalid value for '--seeds'"),
        (["run", "x", "--agent"], "option '--agent' requires an argument"),
        (["tasks", "new"], "missing "),
        (["run", "x\x1b]0;t\x07", "--agent", "baseline"], "no task named"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str
) -> None:
    code, out, err = run(*argv, monkeypatch=monkeypatch)

    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {message}")
    assert line.isprintable()


def test_the_version_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("--version", monkeypatch=monkeypatch)

    assert (code, err) == (0, "")
    assert out.startswith("kernel-env 0.")


def test_the_help_of_a_command_shows_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("run", "--help", monkeypatch=monkeypatch)

    assert code == 0
    for default in ("[default: 1]", "[default: runs]", "(default: the task's)"):
        assert default in out


def test_without_a_command_the_help_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, err = run(monkeypatch=monkeypatch)

    assert "Commands:" in out + err
    assert "error:" not in err


def test_a_bug_is_a_traceback_without_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("\x1b]0;title\x07\x1b[31mred\u202e")

    monkeypatch.setattr("kernel_env.tasks.catalog.task_folders", fail)

    code, _, err = run("tasks", "list", monkeypatch=monkeypatch)

    assert code == 1
    assert err.startswith("Traceback")
    assert err.rstrip().endswith(r"ZeroDivisionError: red\u202e")
