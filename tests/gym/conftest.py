from collections.abc import Iterator
from pathlib import Path

import pytest

import kernel_env
from kernel_env import KernelEnv


@pytest.fixture
def env(tiny: str, sandbox: str, tmp_path: Path) -> Iterator[KernelEnv]:
    """An environment of the tiny task in each sandbox, with a budget of five steps."""
    env = kernel_env.make(tiny, sandbox=sandbox, out=tmp_path, budget={"steps": 5})
    yield env
    env.close()
