from pathlib import Path

import pytest

from check_source import ROOT, findings

GLOSSARY = (
    "# Glossary\n\n## Retired words\n\n| retired | use |\n|---|---|\n| box, let go | sandbox |\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Create a project that has nothing to find."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "glossary.md").write_text(GLOSSARY)
    guest = tmp_path / "kernel_env" / "kernel" / "guest"
    guest.mkdir(parents=True)
    (guest / "fine.py").write_text(
        "import os\nimport zmq\nfrom . import fork\nfrom .fork import x\n"
    )
    (tmp_path / "tests").mkdir()
    assert list(findings(tmp_path)) == []
    return tmp_path


@pytest.mark.parametrize(
    "code",
    [
        '"""Open the box."""',
        "x = 1  # let go",
        "box_size = 1",
        "def f(box): ...",
        'f"{x} box"',
    ],
)
def test_a_retired_word_in_code_is_found(project: Path, code: str) -> None:
    (project / "kernel_env" / "a.py").write_text(code + "\n")

    (found,) = findings(project)

    assert "is retired" in found


@pytest.mark.parametrize("code", ["checkbox = 1", "# sandbox", "# box-plot"])
def test_part_of_another_word_is_not_found(project: Path, code: str) -> None:
    (project / "kernel_env" / "a.py").write_text(code + "\n")

    assert list(findings(project)) == []


def test_a_retired_word_in_a_page_is_found(project: Path) -> None:
    (project / "README.md").write_text("A\nBox.\n")

    assert list(findings(project)) == ["README.md:2: the word 'Box' is retired"]


def test_a_long_file_is_found(project: Path) -> None:
    (project / "kernel_env" / "a.py").write_text("x = 1\n" * 451)
    (project / "tests" / "b.py").write_text("x = 1\n" * 401)

    found = list(findings(project))

    assert [line.partition(";")[0] for line in found] == [
        "kernel_env/a.py: 451 lines",
        "tests/b.py: 401 lines",
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import pandas",
        "from kernel_env import errors",
        "from ..connection import client",
        "def f():\n    import kernel_env.errors",
    ],
)
def test_an_import_from_outside_a_guest_folder_is_found(project: Path, code: str) -> None:
    (project / "kernel_env" / "kernel" / "guest" / "bad.py").write_text(code + "\n")

    (found,) = findings(project)

    assert "guest code imports" in found


def test_a_new_guest_folder_must_be_listed(project: Path) -> None:
    (project / "kernel_env" / "new" / "guest").mkdir(parents=True)

    assert list(findings(project)) == [
        "kernel_env/new/guest: list what it may import in tests/check_source.py"
    ]


def test_the_project_itself_has_no_findings() -> None:
    assert list(findings(ROOT)) == []
