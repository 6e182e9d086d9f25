"""Tasks of complete checkouts are prepared and graded as their benchmarks do it.

Each benchmark's own code runs in the environment of its own requirements, without our shims. The
tables and the raw data are synthetic, made by trial until that code accepts them.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from authoring.importers.test_real_checkouts import checkout, import_all
from kernel_env.tasks.spec import Task
from support.foreign_grades import Comparison, compare, compare_prepared, copied, run_original

VARIABLES = {
    "mle-dojo": "KERNEL_ENV_MLE_DOJO",
    "mle-bench": "KERNEL_ENV_MLE_BENCH",
    "dsbench": "KERNEL_ENV_DSBENCH",
    "mlagentbench": "KERNEL_ENV_MLAGENTBENCH",
}
EXPLAINED = {
    f"mle-dojo/{name}: its sample submission": "its prepare.py draws that anew at each call"
    for name in (
        "home-data-for-ml-course",
        "home-depot-product-search-relevance",
        "mercedes-benz-greener-manufacturing",
        "nyc-taxi-trip-duration",
    )
}
"""Grades that differ, by `benchmark/task: submission`, and why."""


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", VARIABLES)
async def test_a_checkout_is_prepared_and_graded_as_at_home(
    benchmark: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    print_later: Callable[[str], None],
) -> None:
    path = checkout(VARIABLES[benchmark])
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
    source = copied(benchmark, path, tmp_path / "checkout")
    data, texts, extra = (tmp_path / name for name in ("data", "submissions", "extra"))

    def show(what: str, found: Comparison) -> None:
        print_later(f"{benchmark}, {what}: {dict(found.counts)}")
        for id_, reason in found.without.items():
            print_later(f"  without {id_}: {reason[:160]}")
        for name, both in found.differences.items():
            print_later(f"  different {name}: {both}")

    tasks, skipped = import_all(benchmark, source, tmp_path / "tasks")
    print_later(f"{benchmark}: {len(tasks)} tasks imported, {skipped or 'none left out'}")
    argv = (source, data, texts, *sorted(tasks))
    rows = run_original("support.originals", benchmark, *argv, extra=extra)
    own = data if benchmark != "mlagentbench" else None  # its checkout contains the data
    tasks, _ = import_all(benchmark, source, tmp_path / "tasks", own)
    found = await compare(tasks, rows, texts)
    show("graded", found)
    differences = {**found.differences}

    if benchmark in ("mle-dojo", "mle-bench"):
        raw = tmp_path / "raw"
        ids = sorted(id_ for id_, task in tasks.items() if has_prepare_code(task))
        argv = (source, data, raw, tmp_path / "prepared", *ids)
        rows = run_original("support.originals.preparing", benchmark, *argv, extra=extra)
        tasks, _ = import_all(benchmark, source, tmp_path / "tasks", raw)
        prepared = await compare_prepared(tasks, rows)
        show("prepared", prepared)
        differences |= prepared.differences

    assert [name for name in differences if f"{benchmark}/{name}" not in EXPLAINED] == []
    assert found.counts["graded"] > 0.8 * found.counts["imported"]


def has_prepare_code(task: Task) -> bool:
    """Return whether the benchmark has code that prepares a task's data."""
    return task.file.origin is not None and "empty stub" not in task.file.origin.todo
