"""Whatever is done to a recorded episode: it is found, or the episode is still the same."""

import json
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_env.audit.trajectory.integrity import find_tampering
from kernel_env.audit.trajectory.masks import Run, differing, masked, split
from kernel_env.audit.trajectory.needed_cells import plan_final
from kernel_env.audit.trajectory.outputs import compare_outputs
from kernel_env.audit.trajectory.recording import Unreadable, read_recording
from kernel_env.audit.trajectory.signature import signatures
from kernel_env.audit.trajectory.steps import compare_step
from kernel_env.episode import chain
from kernel_env.errors import UsageError
from support.fuzz import examples
from support.hostile_text import is_clean
from support.mutations import damaged_bytes, damaged_json
from support.recorded_run import write_run
from support.trajectories import OUTPUTS, trajectories

FUZZ = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "e"
    write_run(folder)
    return folder


@pytest.mark.parametrize("name", ["journal.jsonl", "trajectory.ipynb"])
@given(data=st.data())
@FUZZ
def test_any_damage_is_found_or_changes_nothing(
    run: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    text = (run / name).read_text()
    lines = text.splitlines() if name == "journal.jsonl" else [text]
    number = data.draw(st.integers(0, len(lines) - 1))
    if data.draw(st.booleans()):
        lines[number] = data.draw(damaged_json(json.loads(lines[number])))
        damaged = "\n".join([*lines, ""]).encode(errors="surrogatepass")
    else:
        damaged = data.draw(damaged_bytes(text.encode()))
    path = tmp_path / name
    path.write_bytes(damaged)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbformat's
        try:
            recording = read_recording(path)
            found = list(find_tampering(recording))
            if recording.notebook is not None:
                with suppress(UsageError):
                    signatures(recording.notebook)
        except UsageError as error:
            check(error)
            return

    assert all(each.where and is_clean(each.what, allowed="") for each in found)
    if not found and recording.has_digests:
        original = chain.digests(read_recording(run / name).trajectory)
        told = chain.digests(recording.trajectory)
        assert told == original[: len(told)]
        assert len(told) == len(original) or name == "journal.jsonl"  # a journal can be cut


def check(error: UsageError) -> None:
    """Check that an error is one line, and says where."""
    assert is_clean(str(error), allowed="")
    assert not isinstance(error, Unreadable) or error.where


@given(trajectory=trajectories())
@FUZZ
def test_any_trajectory_is_equal_to_itself(trajectory: object) -> None:
    for step in trajectory.steps:  # type: ignore[attr-defined]
        assert compare_step(step, step).differences == ()
    with suppress(UsageError):
        plan_final(trajectory)  # type: ignore[arg-type]


@given(one=OUTPUTS, other=OUTPUTS)
@FUZZ
def test_any_outputs_are_compared(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    found = compare_outputs(one, other)  # type: ignore[arg-type]
    turned = compare_outputs(other, one)  # type: ignore[arg-type]

    assert found.sameness == turned.sameness
    assert found.masks == turned.masks
    assert (found.sameness == "different") == bool(found.differences)


@given(text=st.text(max_size=200), other=st.text(max_size=200))
@FUZZ
def test_any_text_is_masked(text: str, other: str) -> None:
    assert "".join(piece.text for piece in split(text)) == text
    assert (differing(Run(text=text), Run(text=other)) is None) == (masked(text) != masked(other))
