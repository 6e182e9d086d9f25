"""A run in JupyterLab, as a person uses it: driven in a browser, on a sealed kernel."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kernel_env.episode import open_episode
from kernel_env.episode.actions import ExecuteCode, ValidateCode
from support.browser import Lab, opened
from support.episodes import SUBMIT_LINE

pytestmark = [pytest.mark.browser, pytest.mark.docker]


@pytest.fixture(scope="module")
async def run_folder(
    tiny: str, docker_images: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of an episode whose third cell broke its kernel, and with a trial after it."""
    async with open_episode(
        tiny, sandbox="docker", image="base", out=tmp_path_factory.mktemp("runs")
    ) as episode:
        for code in ("x = 41", SUBMIT_LINE, "import os; os._exit(7)"):
            await episode.act(ExecuteCode(code=code))
        await episode.act(ValidateCode(code="x = 'tried'"))
        await episode.act(ExecuteCode(code="x += 1; x"))
    return episode.notebook.parent


@pytest.fixture(scope="module")
async def lab(
    run_folder: Path, tiny: str, browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Lab]:
    with opened(run_folder, "--task", tiny) as address:
        page = await browser.new_page(viewport={"width": 1200, "height": 900})
        yield await Lab.load(page, address, tmp_path_factory.mktemp("screenshots"))
        await page.close()


async def test_run_all_runs_what_lasted_on_a_sealed_kernel(lab: Lab, run_folder: Path) -> None:
    before = sorted(path.name for path in run_folder.iterdir())
    await lab.run_all()
    await lab.screenshot("run-all")

    assert (await lab.last_output()).strip().endswith("42")
    assert "x = 'tried'" in await lab.page.inner_text(".jp-Notebook")
    assert (await lab.append("import socket; socket.if_nameindex()")).endswith("[(1, 'lo')]")
    assert (await lab.append("import os; len(os.listdir('/data')) > 0")).endswith("True")
    assert "opened" in before
    assert sorted(path.name for path in run_folder.iterdir()) == before


async def test_a_crash_is_undone_and_shown(lab: Lab) -> None:
    shown = await lab.append("x = 0; import os; os._exit(7)")

    assert shown.startswith("KernelRestored: the kernel exited with code 7; this cell was undone")
    assert (await lab.append("x")).endswith("42")


async def test_a_cell_is_interrupted(lab: Lab) -> None:
    await lab.append("print('begun', flush=True)\nimport time; time.sleep(600)", wait=False)
    await lab.page.wait_for_function(
        "() => [...document.querySelectorAll('.jp-OutputArea-output')].pop()?.innerText"
        ".includes('begun')"
    )
    await lab.choose("Kernel", "Interrupt Kernel")
    await lab.until_idle()

    assert "KeyboardInterrupt" in (await lab.last_output())


async def test_cells_are_undone_and_kernels_branched_from_the_menu_of_a_cell(lab: Lab) -> None:
    await lab.append("y = 1; open('y', 'w').write('1')")
    cell = await lab.count() - 1
    await lab.append("y = 2; open('y', 'w').write('2')")
    await lab.choose_in_cell(cell + 1, "Branch From Here")
    await lab.page.wait_for_selector(".jp-NotebookPanel >> nth=1")
    await lab.until_idle()
    await lab.screenshot("branch")
    branched = await lab.notification()
    in_branch = await lab.append("y += 100; print(y, open('y').read())")
    await lab.close_notebook()
    await lab.choose_in_cell(cell, "Restore to After This Cell")
    restored = await lab.notification()
    await lab.screenshot("restored")

    assert branched.startswith("Branch 1 (after cell")
    assert in_branch == "102 2"
    assert restored.startswith("restored to the state after the cell")
    assert await lab.append("print(y, open('y').read())") == "1 1"


async def test_a_restart_keeps_the_files(lab: Lab) -> None:
    await lab.append("z = 1; open('z', 'w').write('kept')")
    await lab.choose("Kernel", "Restart Kernel…")
    await lab.accept("Restart")
    await lab.until_idle()

    assert await lab.append("print('z' in dir(), open('z').read())") == "False kept"


ATTACK = """
from IPython.display import HTML, Javascript, display
write = "fetch('/api/contents/stolen.txt', {method: 'PUT', body: '{}'}); document.title = 'run'"
display(HTML(f"<b>shown</b><script>{write}</script><img src=x onerror=\\"{write}\\">"))
display(Javascript(write))
"""


async def test_what_a_cell_displays_runs_no_script(lab: Lab, run_folder: Path) -> None:
    shown = await lab.append(ATTACK)
    await lab.page.wait_for_timeout(500)

    assert "shown" in shown
    assert await lab.page.title() != "run"
    assert not list(run_folder.rglob("stolen.txt"))


async def test_the_copy_is_a_valid_notebook(lab: Lab, run_folder: Path) -> None:
    (copy,) = (run_folder / "opened").glob("1-trajectory.ipynb")

    notebook = nbformat.read(copy, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["kernelspec"]["name"] == "sealed-tiny"
    assert "kernel_env" not in json.loads(copy.read_text())["metadata"]
