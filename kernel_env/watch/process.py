"""Start the process that serves the pages, and tell it which episodes there are.

It shares nothing with this process but a pipe, so that no reader of a page slows an episode down.
It ends when the pipe is closed, also because this process was killed.
"""

import json
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from kernel_env.errors import UsageError

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
        assert self._process.stdout is not None
        with self._process.stdout as output:
            self.url = output.readline().decode().strip()
        """The address of the page that lists the episodes. Whoever knows it can read them."""
        if not self.url:
            self.close()
            raise UsageError("the process that serves the page of --watch did not start")

    def add(self, folder: Path) -> None:
        """Show the episode of this folder as well."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(str(folder)).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            warnings.warn("the process that serves the page of --watch has ended", stacklevel=2)

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
