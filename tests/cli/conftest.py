"""Share a script between the tests of the command line."""

import json
from pathlib import Path

import pytest

CODE = """
import os, pandas as pd
test = pd.read_csv(os.environ['DATA_PATH'] + '/test.csv')
test.assign(y=3 * test.x)[['id', 'y']].to_csv(os.environ['OUTPUT_PATH'], index=False)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script of two actions; the second one leaves a submission for the task `tiny`."""
    path = tmp_path / "actions.json"
    actions = [
        {"kind": "request_info", "info_type": "all"},
        {"kind": "execute_code", "code": CODE, "thought": "A line."},
    ]
    path.write_text(json.dumps(actions))
    return path
