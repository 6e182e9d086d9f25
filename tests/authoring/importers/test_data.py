"""The data of imported tasks: linked where possible, compared with checksums, of any size."""

import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest

from kernel_env.authoring.importers import external_code
from kernel_env.errors import TaskError
from kernel_env.tasks import catalog, spec
from kernel_env.tasks.prepare import Prepared, prepare, submission_limit_mb
from support import checkouts
from support.checkouts import TRUTH, state, submission
from support.importing import import_tasks, remember_state, run_command


def write_prepared(folder: Path) -> Path:
    """Write data as MLE-bench prepares it, with files that our own names would replace."""
    prepared = folder / "ripe-fruit" / "prepared"
    checkouts.write(prepared / "private" / "test.csv", submission(*TRUTH).decode())
    for name in ("sampleSubmission.csv", "sample_submission.csv"):
        checkouts.write(prepared / "public" / name, submission(*[len(name)] * 10).decode())
    checkouts.write(prepared / "public" / "description.md", "Theirs.")
    checkouts.write(prepared / "public" / "images" / "1.png", "pixels")
    return prepared


def test_prepared_data_is_linked_and_never_changed(checkout: Path, tmp_path: Path) -> None:
    remember_state(checkouts.mle_bench(checkout))
    original = write_prepared(tmp_path / "data")
    private = original / "public" / "images" / "2.png"
    checkouts.write(private, "secret").chmod(0o600)
    before = state(tmp_path / "data")
    import_tasks("mle-bench", checkout, "ripe-fruit", "--data", tmp_path / "data")

    public = prepare(catalog.find("mle-bench-ripe-fruit")).public

    assert state(tmp_path / "data") == before
    assert (public / "images/1.png").samefile(original / "public/images/1.png")
    assert (public / "images" / "2.png").stat().st_mode & 0o777 == 0o644
    assert (public / "description.md").read_text().startswith("# Ripe?")
    assert (public / "sample_submission.csv").read_bytes() == submission(*[20] * 10)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_prepared_data_is_compared_with_the_checksums_of_mle_bench(
    checkout: Path, tmp_path: Path
) -> None:
    home = checkouts.mle_bench(checkout) / "mlebench" / "competitions" / "ripe-fruit"
    original = write_prepared(tmp_path / "data")
    sample = original / "public" / "sampleSubmission.csv"
    lines = ["private:", f"  test.csv: {md5(original / 'private' / 'test.csv')}", "public:"]
    lines += [f"  sampleSubmission.csv: {md5(sample)}", f"zip: {'0' * 32}"]
    checkouts.write(home / "checksums.yaml", "\n".join(lines) + "\n")
    remember_state(checkout)
    import_tasks("mle-bench", checkout, "ripe-fruit", "--data", tmp_path / "data")
    task = catalog.find("mle-bench-ripe-fruit")
    expected = md5(sample)
    sample.write_bytes(submission(*[7] * 10))

    with pytest.raises(TaskError) as caught:
        prepare(task)
    sample.write_bytes(submission(*[20] * 10))

    assert (
        f"public/sampleSubmission.csv is not what MLE-bench prepares: its MD5 is"
        f" {hashlib.md5(submission(*[7] * 10)).hexdigest()}, {home}/checksums.yaml expects {expected}"
    ) in str(caught.value)
    assert prepare(task).public.is_dir()


def test_a_file_is_copied_where_it_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = checkouts.write(tmp_path / "source", "content")
    other = Path("/dev/shm") / f"ke-{os.getpid()}"

    try:
        external_code.link_file(str(source), str(other))
        assert other.read_text() == "content"
        assert other.stat().st_nlink == 1
    finally:
        other.unlink(missing_ok=True)


def test_submissions_may_be_four_times_as_large_as_the_sample(
    checkout: Path, tmp_path: Path, tiny: str
) -> None:
    remember_state(checkouts.mle_bench(checkout))
    import_tasks("mle-bench", checkout, "ripe-fruit")
    task = catalog.find("mle-bench-ripe-fruit")
    for name in ("public", "private"):
        (tmp_path / name).mkdir()
    prepared = Prepared(public=tmp_path / "public", answers=tmp_path / "private")
    without = submission_limit_mb(task, prepared)
    with (tmp_path / "private" / "sample_submission.csv").open("wb") as file:
        file.truncate(121_000_000)

    assert without == 100
    assert submission_limit_mb(task, prepared) == 484
    assert submission_limit_mb(spec.load(Path(tiny)), prepared) == 1


def test_competitions_with_capitals_are_taken_from_kaggle(checkout: Path) -> None:
    remember_state(checkouts.mle_dojo(checkout))

    rows = import_tasks("mle-dojo", checkout, "CherryPicking", "--data", checkout / "nowhere")

    origin = catalog.find("mle-dojo-cherrypicking").file.origin
    assert origin is not None
    assert origin.kaggle == "CherryPicking"
    assert "run: kernel-env tasks prepare" in str(rows["mle-dojo-cherrypicking"]["todo"])


def test_benchmarks_that_cannot_be_scored_here_are_left_out_with_a_reason(checkout: Path) -> None:
    homes = checkouts.mlagentbench(checkout) / "MLAgentBench" / "benchmarks"
    for name in ("imdb", "vectorization"):
        (homes / "fruit-price").joinpath("..", name).mkdir()
        checkouts.write(homes / name / "scripts" / "research_problem.txt", "Improve it.\n")
        checkouts.write(homes / name / "scripts" / "eval.py", checkouts.ML_EVAL)
    remember_state(checkout)

    done = run_command("tasks", "import", "mlagentbench", checkout, "--json")

    lines = done.stderr.splitlines()
    assert (
        "left out: imdb: its programs download data from a hub while they run, and sandboxes have"
        " no network" in lines
    )
    assert (
        "left out: vectorization: its score is a run time that the agent's own program writes down"
        in lines
    )


def test_a_label_that_is_no_class_gets_a_column_of_its_own() -> None:
    labels = pd.DataFrame({"id": [4, 3, 2], "kind": ["a", "x", "b"]})

    encoded = external_code.df_to_one_hot(labels, "id", "kind", ["a", "b"])

    assert encoded.to_csv(index=False) == "id,a,b,x\n4,1,0,\n3,0,0,1.0\n2,0,1,\n"
