"""What a pack ships beside its manifest is made by its authors, and stays true."""

import shutil
from pathlib import Path

import pytest

from kernel_env.audit.pack import is_checked
from kernel_env.authoring import packs
from kernel_env.authoring.packs.shipped import checks_file, read_checks, read_facts
from kernel_env.tasks import catalog
from support.little_pack import run_pack, write_pack


def test_facts_of_tasks_that_are_not_made_stay(index: Path) -> None:
    path = write_pack(index)
    (path.parent / "boards").mkdir()
    board = "entry,kind,public_score,private_score,seed,runtime_s\nconstant,reference,1,1,0,0.1\n"
    for name in ("fruit-price", "fruit-colour"):
        (path.parent / "boards" / f"{name}.csv").write_text(board)
    assert run_pack(path, "--boards")[0] == 0
    pack = packs.find(str(path))
    before = read_facts(pack)
    assert set(before) == {"fruit-price", "fruit-colour"}

    shutil.rmtree(catalog.folder_of("fruit-colour"))
    assert "facts of 2 tasks" in run_pack(path, "--boards", "--only", "fruit-price")[1]
    assert read_facts(pack) == before

    path.write_text(path.read_text().partition("[task.fruit-colour]")[0])
    run_pack(path, "--boards")
    assert set(read_facts(packs.find(str(path)))) == {"fruit-price"}


@pytest.mark.docker
def test_results_of_checks_are_kept_until_a_task_changes(index: Path, docker_images: None) -> None:
    path = write_pack(index)
    command = (path, "--boards", "--check", "--only", "fruit-price", "--sandbox")

    assert run_pack(*command, "docker")[0] == 0
    pack = packs.find(str(path))
    (whole,) = read_checks(pack).values()
    assert (whole.failed, whole.not_run) == ("", "")
    assert is_checked(pack, "fruit-price")
    written = checks_file(pack).stat().st_mtime_ns
    assert run_pack(*command, "docker")[0] == 0
    assert checks_file(pack).stat().st_mtime_ns == written, "it is not checked again"

    path.write_text(path.read_text().replace("weight and colour", "colour and weight"))
    assert not is_checked(packs.find(str(path)), "fruit-price")
    assert run_pack(*command, "local")[0] == 0
    pack = packs.find(str(path))
    (part,) = read_checks(pack).values()
    assert (part.failed, part.not_run) == ("", "cheats")
    assert not is_checked(pack, "fruit-price"), "nothing was isolated"
