"""Tasks of the pack that comes with the package, drawn by a seed, are made, checked and played."""

import json
import random
from pathlib import Path

import pytest

from kernel_env.authoring import packs
from support.cli import run_cli

pytestmark = [pytest.mark.docker, pytest.mark.slow]
"""They download some hundred megabytes of packages."""
NAMES = random.Random(20).sample(sorted(packs.find("open-200").file.task), 20)
SECONDS = 1200


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a cache in which the drawn tasks are made."""
    found = {"KERNEL_ENV_CACHE": str(tmp_path_factory.mktemp("cache"))}
    only = [word for name in NAMES for word in ("--only", name)]
    done = run_cli("tasks", "pack", "open-200", *only, timeout_s=SECONDS, **found)
    assert done.returncode == 0, done.stderr
    return found


@pytest.mark.parametrize("name", NAMES[:10])
def test_a_task_passes_all_checks(name: str, cache: dict[str, str]) -> None:
    done = run_cli("tasks", "check", name, "--json", timeout_s=SECONDS, **cache)

    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each for each in findings if each["verdict"] == "failed"] == []
    assert sum(each["verdict"] == "ok" for each in findings) >= 15
    assert done.returncode == 0, done.stderr


def test_the_baseline_plays_twenty_in_containers(cache: dict[str, str], tmp_path: Path) -> None:
    options = ("--agent", "baseline", "--sandbox", "docker", "--json", "--out", tmp_path)
    done = run_cli("run", *NAMES, *options, timeout_s=SECONDS, **cache)

    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert {result["task"] for result in results} == set(NAMES), done.stderr
    assert [result["task"] for result in results if not result["submissions"]] == []
    assert len(list(tmp_path.rglob("*.ipynb"))) == len(NAMES)
