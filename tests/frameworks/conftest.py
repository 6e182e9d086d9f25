"""Leave out the tests of frameworks that this environment does not have."""

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from run import FRAMEWORKS

collect_ignore = [
    framework.test_of(name).name
    for name, framework in FRAMEWORKS.items()
    if find_spec(framework.module) is None
]
