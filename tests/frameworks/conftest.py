"""Leave out the tests of frameworks that this environment does not have."""

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from run import FRAMEWORKS, tests_of

collect_ignore = [
    path.name
    for name, framework in FRAMEWORKS.items()
    if find_spec(framework.module) is None
    for path in tests_of(name)
]
