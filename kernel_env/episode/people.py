"""Let people use the live kernel of an episode in JupyterLab: each cell they run is a step.

    server = await serve(episode)     # ends with the episode
    print(server.connection_file)

The cells wait for the agent's, and the agent's for them. What a person does is recorded as theirs
(`actor`), unless they play the episode themselves.
"""

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from kernel_env.episode.actions import Action, ExecuteCode
from kernel_env.episode.episode import Episode
from kernel_env.episode.journal import JOURNAL, read_header, read_journal
from kernel_env.episode.observation import submission_lines
from kernel_env.episode.step import Actor, Step
from kernel_env.errors import EpisodeOver, UsageError
from kernel_env.jupyter.cell_output import CellOutput, reply_content
from kernel_env.jupyter.executor import CellRequest, Command
from kernel_env.jupyter.server import Server
from kernel_env.kernel.connection.client import KernelClient
from kernel_env.kernel.connection.running_cell import Observer
from kernel_env.untrusted_text import Markdown, code_span, escape_line

REPLY_S = 0.2
"""How long the server stays after the end has cancelled a cell, so that its client gets a reply."""
NOTEBOOK = "attached/attached.ipynb"
"""The notebook of people who attach. Its folder has nothing else, because a Jupyter program shows
what is beside a notebook."""
INTRODUCTION = Markdown(
    """# {task}: the live kernel

The agent {agent} works in this kernel. A cell that you run waits until its action has ended, and
then its next action waits for yours. What you run is recorded as a person's: it is not charged to
the agent, a submission of yours is graded and does not count, and the agent reads in its next
observation what you changed. Interrupt stops your cell only; Restart and Shut Down do nothing."""
)
NAME, TITLE = "live", "Live kernel of an episode"
"""Name and title of the kernelspec of an episode's kernel."""
KERNEL = {"name": NAME, "display_name": TITLE, "language": "python"}
CONNECTION_FILE = "attach.json"
"""The file in an episode's folder by which Jupyter programs connect to its kernel."""


class EpisodeKernel:
    """An executor whose cells are steps of an episode."""

    def __init__(self, episode: Episode, actor: Actor) -> None:
        """`actor` is who runs the cells: a person beside the agent, or the agent itself."""
        self.episode, self._actor = episode, actor
        self._step: asyncio.Task[Step] | None = None
        """The cell that runs or waits."""
        self._refused = False
        """Whether a cell has ended because the episode did."""

    @property
    def kernel(self) -> KernelClient | None:
        """Return the connection to the running kernel; None while there is none."""
        return self.episode.kernel.living

    async def execute(self, request: CellRequest, output: CellOutput) -> Mapping[str, Any]:
        """Take a step that runs a cell. Raises as `Episode.act` does."""
        if not request.code.strip():
            return reply_content("ok", 0)
        if self._actor == "human" and self.episode.turns.actor == "agent":
            output.print("[waiting for the agent's action to end]\n", name="stderr")
        action = ExecuteCode(code=request.code)
        self._step = asyncio.create_task(self.act(action, output.observe))
        try:
            step = await self._step
        except EpisodeOver:
            self._refused = True
            raise
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return output.fail("KeyboardInterrupt", "the cell was interrupted before it began")
        finally:
            self._step = None
        assert step.cell is not None
        reply = output.reply(step.cell)
        await self.after(step, output)
        return reply

    async def act(self, action: Action, observe: Observer | None = None) -> Step:
        """Take a step. Raises as `Episode.act` does."""
        return await self.episode.act(action, actor=self._actor, observe=observe)

    async def after(self, step: Step, output: CellOutput) -> None:
        """Show what came of a step beside the outputs of its cell."""
        for line in submission_lines(step.submission):
            output.print(f"[{escape_line(line)}]\n")

    async def interrupt(self) -> None:
        """Interrupt the cell; one that waits does not begin. The agent's cells are left alone."""
        if self._step is None:
            return
        if self.episode.turns.actor == self._actor:
            await self.episode.kernel.interrupt()
        else:
            self._step.cancel()

    async def last_replies(self) -> None:
        """Wait until clients have the replies to the cells that the episode's end has cancelled."""
        if self._refused or self._step is not None:
            await asyncio.sleep(REPLY_S)

    async def shutdown(self, *, restart: bool) -> None:
        """Do nothing: the kernel is the agent's, and ends with the episode."""


async def serve(
    episode: Episode,
    executor: EpisodeKernel | None = None,
    commands: Mapping[str, Command] | None = None,
) -> Server:
    """Serve an episode's kernel to Jupyter clients until the episode ends.

    Args:
        episode: the episode.
        executor: what executes the cells; by default they are steps of a person.
        commands: magics that run on the host, by name.

    Raises `EpisodeOver`, `KernelError`, `OSError`.
    """
    executor = executor or EpisodeKernel(episode, "human")
    server = Server(
        executor,
        commands=commands,
        connection_file=connection_file_of(episode.folder),
        widgets=False,  # nothing runs in the kernel but steps
    )
    await server.start()
    if episode.turns.ended:
        await server.close()
        raise EpisodeOver("the episode has ended")
    episode.closing.push_async_callback(server.close)
    episode.closing.push_async_callback(executor.last_replies)
    return server


def connection_file_of(folder: Path) -> Path:
    """Return the path of the file by which programs connect to an episode's kernel."""
    return folder / CONNECTION_FILE


def find_served(folder: Path) -> Path:
    """Return the connection file of an episode that is running now.

    Raises `UsageError` if it has ended, if it was started without a server, and if the folder has
    no episode.
    """
    file = connection_file_of(folder)
    try:
        info = json.loads(file.read_bytes())
        with socket.socket(socket.AF_UNIX) as shell:
            shell.connect(f"{info['ip']}-{info['shell_port']}")
        return file
    except (OSError, ValueError, KeyError, TypeError):
        reason = "the process that ran it has ended"
    journal = folder / JOURNAL
    if not journal.is_file():
        raise UsageError(f"{folder} is not the folder of an episode: it has no {JOURNAL}")
    if (ending := read_journal(journal).ending) is not None:
        raise UsageError(
            f"the episode in {folder} has ended ({ending.status}), and its kernel with it"
        )
    if not file.exists():
        reason = "it was not started with --attach"
    raise UsageError(f"the kernel of the episode in {folder} cannot be used: {reason}")


def write_notebook(folder: Path) -> Path:
    """Write a notebook for people who attach to an episode, unless its folder has one.

    Raises `OSError`.
    """
    path = folder / NOTEBOOK
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        header = read_header(folder / JOURNAL)
        text = INTRODUCTION.format(task=header.task_name, agent=code_span(header.agent or "–"))
        cells = [nbformat.v4.new_markdown_cell(str(text)), nbformat.v4.new_code_cell("%whos")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    return path
