"""Positions in the log of a kernel, and what a replay did not reproduce."""

from hypothesis import given
from hypothesis import strategies as st

from kernel_env.kernel.cell import Cell, FileChange, Variable
from kernel_env.kernel.forking.log import (
    LogEntry,
    count_cells,
    differences,
    last_reset,
    position_after,
    reseeding,
)


def cell_entry(step: int) -> LogEntry:
    """Build the entry of a cell."""
    return LogEntry(step=step, code="x = 1", timeout_s=1.0, cell=Cell())


def reset_entry(step: int) -> LogEntry:
    """Build the entry of a reset."""
    return LogEntry(step=step, code=None)


def variable(name: str, type_: str = "int", shape: str = "", change: str = "new") -> Cell:
    """Build a cell that changed one variable."""
    return Cell(variables=(Variable(name=name, type=type_, shape=shape, change=change),))  # type: ignore[arg-type]


def file(path: str, size: int, change: str = "new") -> Cell:
    """Build a cell that changed one file."""
    return Cell(files=(FileChange(path=path, bytes=size, change=change),))  # type: ignore[arg-type]


@st.composite
def logs(draw: st.DrawFn) -> list[LogEntry]:
    """Draw a log: steps never decrease, and some steps have no entry."""
    kinds = draw(st.lists(st.sampled_from(["cell", "reset", "reseeding", "no entry"])))
    entries: list[LogEntry] = []
    for step, kind in enumerate(kinds, 1):
        match kind:
            case "cell":
                entries.append(cell_entry(step))
            case "reset":
                entries.append(reset_entry(step))
            case "reseeding":
                entries += [cell_entry(step), reseeding(step, seed=7)]
    return entries


# ── positions ─────────────────────────────────────────────────────────────────────────────


def test_the_position_after_a_step_counts_the_entries_until_then() -> None:
    log = [cell_entry(1), reset_entry(3), cell_entry(4), reseeding(4, seed=7)]

    assert [position_after(log, step) for step in range(6)] == [0, 1, 1, 2, 4, 4]


def test_the_last_reset_is_the_position_after_its_entry() -> None:
    log = [cell_entry(1), reset_entry(2), cell_entry(3), reset_entry(4), cell_entry(5)]

    assert [last_reset(log, position) for position in range(6)] == [0, 0, 2, 2, 4, 4]


@given(logs(), st.integers(0, 30))
def test_the_position_after_a_step_divides_the_log_at_this_step(
    log: list[LogEntry], step: int
) -> None:
    position = position_after(log, step)

    assert all(entry.step <= step for entry in log[:position])
    assert all(entry.step > step for entry in log[position:])


@given(logs(), st.data())
def test_no_reset_follows_the_last_reset(log: list[LogEntry], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(log)))

    reset = last_reset(log, position)

    assert 0 <= reset <= position
    assert reset == 0 or log[reset - 1].code is None
    assert all(entry.code is not None for entry in log[reset:position])


@given(logs())
def test_only_cells_of_the_agent_are_counted(log: list[LogEntry]) -> None:
    resets = sum(entry.code is None for entry in log)
    reseedings = sum("reseed" in (entry.code or "") for entry in log)

    assert count_cells(log) == len(log) - resets - reseedings


# ── differences ───────────────────────────────────────────────────────────────────────────


def test_variables_are_compared_by_type_and_shape() -> None:
    before = [variable("a", "list", "3"), variable("b"), variable("c", "DataFrame", "(3, 4)")]
    after = [variable("a", "list", "3"), variable("b", "str"), variable("c", "DataFrame", "(2, 4)")]

    assert differences(before, after) == [
        "b was int, is str",
        "c was DataFrame (3, 4), is DataFrame (2, 4)",
    ]


def test_files_are_compared_by_size() -> None:
    before, after = [file("a", 10), file("b", 10)], [file("a", 10), file("b", 20)]

    assert differences(before, after) == ["/b was 10 bytes, is 20 bytes"]


def test_missing_and_additional_variables_are_reported_as_absent() -> None:
    assert differences([variable("a")], [variable("b")]) == [
        "a was int, is absent",
        "b was absent, is int",
    ]


def test_a_deleted_variable_or_file_is_absent() -> None:
    before = [variable("a"), variable("a", change="deleted"), file("f", 1)]
    after = [file("f", 1), file("f", 0, change="deleted")]

    assert differences(before, after) == ["/f was 1 bytes, is absent"]


def test_a_variable_and_a_file_with_one_name_are_distinct() -> None:
    assert differences([variable("a")], [file("a", 1)]) == [
        "/a was absent, is 1 bytes",
        "a was int, is absent",
    ]


NAMES, CHANGES = st.sampled_from("abc"), st.sampled_from(["new", "changed", "deleted"])
CELLS = st.lists(
    st.builds(variable, NAMES, st.sampled_from(["int", "list"]), st.just(""), CHANGES)
    | st.builds(file, NAMES, st.integers(0, 3), CHANGES)
)


@given(CELLS)
def test_a_log_does_not_differ_from_itself(cells: list[Cell]) -> None:
    assert differences(cells, cells) == []


@given(CELLS)
def test_the_division_of_changes_into_cells_does_not_matter(cells: list[Cell]) -> None:
    joined = Cell(
        variables=tuple(v for cell in cells for v in cell.variables),
        files=tuple(f for cell in cells for f in cell.files),
    )

    assert differences(cells, [joined]) == []


@given(CELLS, CELLS)
def test_differences_name_the_same_things_in_both_directions(
    before: list[Cell], after: list[Cell]
) -> None:
    forwards, backwards = differences(before, after), differences(after, before)

    assert [text.split()[0] for text in forwards] == [text.split()[0] for text in backwards]
