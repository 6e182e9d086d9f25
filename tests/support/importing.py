"""Run the command line in this process and import other benchmarks' tasks with it."""

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from kernel_env.cli import main
from kernel_env.grading.host import Scores
from support.checkouts import state

NO_OP_ACTIONS = '[{"kind": "request_info", "info_type": "name"}]'
"""The actions of an agent that submits nothing."""

GradeTask = Callable[[str, bytes], Scores]
"""A function that grades a submission of a named task on both splits."""


@dataclass
class CommandResult:
    stdout: str
    stderr: str

    @property
    def rows(self) -> list[dict[str, object]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.stdout.splitlines()]


def run_command(*argv: object, fails: bool = False) -> CommandResult:
    """Run `kernel-env` in this process and check whether it fails."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before = sys.argv
    try:
        sys.argv = ["kernel-env", *map(str, argv)]
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    assert bool(code) == fails, err.getvalue()
    return CommandResult(stdout=out.getvalue(), stderr=err.getvalue())


def import_tasks(*argv: object) -> dict[str, dict[str, object]]:
    """Run `tasks import`; return its rows by task name."""
    return {str(row["task"]): row for row in run_command("tasks", "import", *argv, "--json").rows}


def remember_state(folder: Path) -> Path:
    """Record a checkout's files; the fixture `checkout` checks at the end that none changed."""
    folder.with_name("before.json").write_text(json.dumps(state(folder)))
    return folder
