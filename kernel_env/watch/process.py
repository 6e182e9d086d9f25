"""Start the process that serves the pages, and tell it which episodes there are.

It shares nothing with this process but two pipes, so that no reader of a page slows an episode
down: one for the episodes and questions, one for the answers. It ends when the first one is closed,
also because this process was killed.
"""

import asyncio
import json
import subprocess
import sys
import threading
import warnings
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kernel_env.errors import UsageError

ENDED = "the process that serves the page of --watch has ended"
END_S = 5.0
"""Time limit for the process to send the last steps to its readers."""


class WatchServer:
    """The process that serves pages of running episodes, on this machine only."""

    def __init__(self) -> None:
        """Start it. Raises `UsageError` if it cannot be started."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kernel_env.watch.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C ends the run first, and that ends it
        )
        self._numbers = count(1)
        self._asked: dict[int, Future[str]] = {}
        self._reading = threading.Thread(target=self._read_answers, daemon=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()
        """The address of the page that lists the episodes. Whoever knows it can read them."""
        self._reading.start()
        if not self.url:
            self.close()
            raise UsageError("the process that serves the page of --watch did not start")

    def add(self, folder: Path) -> None:
        """Show the episode of this folder as well."""
        try:
            self._tell(kind="add", folder=str(folder))
        except OSError:
            warnings.warn(ENDED, stacklevel=2)

    async def ask(self, folder: Path, question: str) -> str:
        """Ask a question on the page of an episode; return the answer of whoever reads it.

        Cancelling withdraws the question. Raises `UsageError` if the process has ended.
        """
        number, answer = next(self._numbers), Future[str]()
        self._asked[number] = answer
        try:
            self._tell(kind="add", folder=str(folder))
            self._tell(kind="ask", number=number, episode=folder.name, text=question)
            return await asyncio.wrap_future(answer)
        except OSError as error:
            raise UsageError(ENDED) from error
        finally:
            self._asked.pop(number, None)
            with suppress(OSError):
                self._tell(kind="withdraw", number=number)

    def _tell(self, **message: Any) -> None:
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise BrokenPipeError
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def _read_answers(self) -> None:
        """Hand each answer to who has asked, until the process ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, text = json.loads(line)
            asked = self._asked.pop(number, None)
            if asked and asked.set_running_or_notify_cancel():
                asked.set_result(text)
        for asked in list(self._asked.values()):
            if asked.set_running_or_notify_cancel():
                asked.set_exception(UsageError(ENDED))

    def close(self) -> None:
        """End the process once its readers have the last steps."""
        process = self._process
        assert process.stdin is not None
        with suppress(OSError):  # it had ended
            process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._reading.join()
        assert process.stdout is not None
        process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
