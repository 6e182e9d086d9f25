"""Rules of `tasks import` that hold for every benchmark."""

import shutil
from pathlib import Path

from support import checkouts
from support.importing import import_tasks, remember_state, run_command


def test_importing_runs_no_code_of_the_checkout(checkout: Path, tmp_path: Path) -> None:
    builders = (checkouts.mle_dojo, checkouts.mle_bench, checkouts.dsbench, checkouts.mlagentbench)
    for build in builders:
        build(checkout / build.__name__)
    for path in checkout.rglob("*.py"):
        path.write_text(f"raise RuntimeError('this ran')\n{path.read_text()}")
    remember_state(checkout)

    for build in builders:
        benchmark = build.__name__.replace("_", "-")
        assert import_tasks(benchmark, checkout / build.__name__)


def test_a_folder_that_is_no_checkout_is_an_error(tmp_path: Path) -> None:
    done = run_command("tasks", "import", "mle-dojo", tmp_path, fails=True)

    assert done.stderr == (
        f"error: {tmp_path}: found no */utils/metric.py; expected a checkout of MLE-Dojo"
        " (prepared data alone has no metrics: give its folder as --data)\n"
    )
    assert run_command("tasks", "import", "kaggle", tmp_path, fails=True).stderr == (
        "error: no benchmark named 'kaggle'; known: dsbench, mlagentbench, mle-bench, mle-dojo\n"
    )


def test_only_imported_folders_are_replaced(checkout: Path, tmp_path: Path) -> None:
    remember_state(checkouts.mle_dojo(checkout))
    own = checkouts.write(tmp_path / "mine" / "mle-dojo-cherrypicking" / "task.toml", "")

    command = ["tasks", "import", "mle-dojo", checkout, "CherryPicking", "--into", own.parents[1]]
    done = run_command(*command, fails=True)

    assert done.stderr == (
        f"error: {own.parent} exists and was not imported; choose another --into\n"
    )
    shutil.rmtree(own.parent)
    assert run_command(*command).stderr.splitlines()[-1] == (
        f"to use them by name: export KERNEL_ENV_TASKS={own.parents[1]}"
    )
    run_command(*command)  # a second import replaces the first


def test_a_task_with_other_capitals_is_suggested(checkout: Path) -> None:
    remember_state(checkouts.mle_dojo(checkout))

    done = run_command("tasks", "import", "mle-dojo", checkout, "cherrypicking", fails=True)

    assert done.stderr == (
        f"error: no task in {checkout}/mledojo/competitions named 'cherrypicking'; did you mean"
        " 'CherryPicking'? known: CherryPicking, leftovers, sideways\n"
    )


def test_a_damaged_checkout_is_one_line(checkout: Path) -> None:
    facts = checkouts.mle_dojo(checkout / "dojo") / "prepare" / "mle.json"
    facts.write_text(facts.read_text()[:-5])
    results = checkouts.dsbench(checkout / "ds") / "data_modeling" / "save_performance.zip"
    results.write_text(checkouts.POINTER)
    remember_state(checkout)

    dojo = run_command("tasks", "import", "mle-dojo", checkout / "dojo", fails=True).stderr
    ds = run_command("tasks", "import", "dsbench", checkout / "ds", fails=True).stderr

    assert dojo.startswith(f"error: {facts} is not JSON: ")
    assert dojo.endswith("; check the checkout out again\n")
    assert ds == f"error: {results}: File is not a zip file; check the checkout out again\n"
