"""List the tasks that the repository contains."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
EMBEDDED = sorted(path.parent.name for path in (ROOT / "tasks").glob("*/task.toml"))
