"""Drive JupyterLab in a headless browser, as a person does."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Programs that can be driven; the first one found is."""
WAIT_MS = 20_000
"""Nothing in these tests takes as long; what does never happens."""
NUMBERED = re.compile(r"\[\d+\]:")
"""Prompt of a cell that has been run: `[ ]:` before, `[*]:` meanwhile."""


def find_browser() -> str | None:
    """Return the path of a browser; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def opening(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `kernel-env open` and yield its process and the address of its page."""
    command = [sys.executable, "-m", "kernel_env.cli", "open", "--no-browser"]
    with subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().removeprefix("open: ").strip()
        finally:
            process.terminate()


@contextmanager
def opened(*arguments: str | Path) -> Iterator[str]:
    """Run `kernel-env open` and yield the address of its page; require that it ends well."""
    with opening(*arguments) as (process, address):
        yield address
        process.terminate()
        assert process.wait(30) == 0


@dataclass
class Lab:
    """A page with JupyterLab and one or more notebooks."""

    page: Any
    screenshots: Path

    @classmethod
    async def load(cls, page: Any, address: str, screenshots: Path) -> "Lab":
        """Load the page and wait until its kernel can run cells."""
        page.set_default_timeout(WAIT_MS)
        await page.goto(address)
        lab = cls(page, screenshots)
        await lab.page.wait_for_selector(".jp-Notebook .jp-Cell")
        await lab.until_idle()
        return lab

    async def close_notebook(self) -> None:
        """Close the notebook that was opened last, without saving it."""
        tab = self.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab.jp-mod-current")
        await tab.locator(".lm-TabBar-tabCloseIcon").click()
        await self.accept("Discard")
        await tab.wait_for(state="attached")

    @property
    def notebook(self) -> Any:
        """Return the notebook that was opened last."""
        return self.page.locator(".jp-NotebookPanel:visible").last

    async def until_idle(self) -> None:
        """Wait until the kernel is connected and runs no cell."""
        await self.page.wait_for_function(
            "() => document.querySelector('#jp-main-statusbar').innerText.includes('| Idle')"
            " && ![...document.querySelectorAll('.jp-InputPrompt')]"
            ".some(prompt => prompt.textContent.includes('*'))"
        )

    async def choose(self, menu: str, item: str) -> None:
        """Choose an item of the menu bar."""
        await self.page.click(f".lm-MenuBar-itemLabel >> text='{menu}'")
        await self.page.click(f".lm-Menu-itemLabel >> text='{item}'")

    async def choose_in_cell(self, number: int, item: str) -> None:
        """Choose an item of the menu of a code cell; the first one has the number 0."""
        cell = self.notebook.locator(".jp-CodeCell").nth(number)
        await cell.locator(".jp-InputPrompt").click(button="right")
        await self.page.click(f".lm-Menu-itemLabel >> text='{item}'")

    async def run_all(self) -> None:
        """Run all cells, and wait for the last."""
        await self.choose("Run", "Run All Cells")
        await self.until_idle()

    async def accept(self, button: str) -> None:
        """Press a button of the dialog."""
        await self.page.click(f".jp-Dialog-button >> text='{button}'")

    async def append(self, code: str, *, wait: bool = True) -> str:
        """Add a cell at the end, run it, and return its outputs."""
        await self.notebook.locator(".jp-Notebook-footer").click()
        await self.page.keyboard.press("Enter")
        await self.page.keyboard.insert_text(code)
        await self.page.keyboard.press("Control+Enter")
        if not wait:
            return ""
        cell = self.notebook.locator(".jp-CodeCell").last
        has_run = cell.locator(".jp-InputPrompt").filter(has_text=NUMBERED)
        await has_run.or_(cell.locator(".jp-OutputArea-output")).first.wait_for()
        await self.until_idle()
        return await self.last_output()

    async def count(self) -> int:
        """Return the number of code cells."""
        count: int = await self.notebook.locator(".jp-CodeCell").count()
        return count

    async def last_output(self) -> str:
        """Return the outputs of the last code cell as text."""
        cell = self.notebook.locator(".jp-CodeCell").last
        texts: list[str] = await cell.locator(".jp-OutputArea-output").all_inner_texts()
        return "\n".join(texts).strip()

    async def notification(self) -> str:
        """Wait for a notification, close it, and return its text."""
        toast = self.page.locator(".Toastify__toast").last
        text: str = (await toast.inner_text()).strip()
        await toast.locator("button").first.click()
        await toast.wait_for(state="detached")
        return text

    async def screenshot(self, name: str) -> None:
        """Save what the page shows, for a person who looks into a failure."""
        await self.page.screenshot(path=self.screenshots / f"{name}.png")
