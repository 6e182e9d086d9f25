"""`validate_code` runs on a fork: it uses variables and files, and changes neither."""

from kernel_env.episode import Episode
from kernel_env.episode.actions import ValidateCode
from support.episodes import (
    SUBMIT_LINE,
    OpenTiny,
    execute,
    execute_text,
    output_text,
    validate,
    validate_text,
)


async def test_a_trial_uses_variables_and_files_and_changes_nothing(episode: Episode) -> None:
    await execute(episode, "x = 41; open('f', 'w').write('kept')")

    files = await validate_text(
        episode, "print(open('f').read()); open('f', 'w').write('x'); open('g', 'w'); y = 1"
    )
    invalid = await validate(episode, "def broken(:")
    variables = await validate(episode, "x")
    after = await execute_text(
        episode, "import os; print(x, open('f').read(), sorted(os.listdir()), 'y' in dir())"
    )

    assert files == "kept"
    assert invalid.cell.error is not None
    assert invalid.cell.error.name == "SyntaxError"
    assert output_text(variables) == "41"
    assert variables.note == ""
    assert after == "41 kept ['f'] False"


async def test_a_trial_is_never_graded(episode: Episode) -> None:
    step = await episode.act(ValidateCode(code=SUBMIT_LINE))

    assert step.submission is None
    assert step.reward == 0
    assert episode.progress.best is None


async def test_a_huge_sparse_file_does_not_stop_a_trial(open_tiny: OpenTiny) -> None:
    budget = {"cell_seconds": 5}
    async with open_tiny(sandbox="local", budget=budget) as episode:
        await execute(
            episode, "import os; os.truncate(os.open('x', os.O_CREAT | os.O_WRONLY), 1 << 42)"
        )

        outcome = await validate(episode, "1")

    assert outcome.cell.error is None
    assert output_text(outcome) == "1"


async def test_an_unreadable_file_does_not_stop_a_trial(episode: Episode) -> None:
    await execute(episode, "import os; open('x', 'w').write('secret'); os.chmod('x', 0)")

    text = await validate_text(episode, "os.chmod('x', 0o600); open('x').read()")
    mode = await execute_text(episode, "oct(os.stat('x').st_mode)")

    assert text == "'secret'"
    assert mode == "'0o100000'"
