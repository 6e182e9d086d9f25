"""Files that version 0.1 wrote, and how tests read them."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from kernel_env.cli import main

OLD = Path(__file__).parents[1] / "data" / "v0.1"
EPISODES = OLD / "episodes"
IMPORTED = OLD / "imported"
ALL = sorted(path.name for path in EPISODES.iterdir())
ENDED = [name for name in ALL if (EPISODES / name / "record.json").is_file()]
EXPORTS = json.loads((OLD / "exports.json").read_text())
SCORES = json.loads((IMPORTED / "scores.json").read_text())
API = json.loads((OLD / "api.json").read_text())
CHANGED_DEFAULTS = {
    "reward": ("position", "progress"),
    "feedback": ("public", None),
    "format_": ("mle-bench", "html"),
}
"""Defaults that are others now: option → then, now. The second one means the task's own."""


def run_main(*argv: object, code: int = 0) -> str:
    """Run the command line in this process. Returns what it prints to stdout."""
    out, err, exit_code = io.StringIO(), io.StringIO(), 0
    before = sys.argv
    try:
        sys.argv = ["kernel-env", *map(str, argv)]
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as error:
        exit_code = int(error.code or 0)
    finally:
        sys.argv = before
    assert exit_code == code, err.getvalue()
    return out.getvalue()


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def entries(name: str, what: str) -> list[dict[str, Any]]:
    """Return a journal's entries of one kind as JSON, without an incomplete last line."""
    text = (EPISODES / name / "journal.jsonl").read_bytes().split(b"\n")[:-1]
    return [entry[what] for entry in map(json.loads, text) if what in entry]
