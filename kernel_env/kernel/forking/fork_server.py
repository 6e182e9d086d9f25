"""A box with a template in it: where the kernels of an episode and of its branches come from.

A home belongs to one episode and those forked from it, and to nobody after them: one
box is one trust domain.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from itertools import count
from pathlib import PurePosixPath
from typing import Any

from kernel_env.errors import SandboxError
from kernel_env.kernel.forking.standby import ForkingUnavailable, Standby, boot
from kernel_env.sandbox.protocol import Sandbox

PRISTINE = "pristine"
"""The snapshot of the agent's folders before anything was done."""


class LimitedKernelWarning(UserWarning):
    """The machine cannot do for kernels all that was asked for."""


class ForkServer:
    """A box, its template, and who lives in it. Open it with `ForkServer.open`."""

    def __init__(self, box: Sandbox, env: Mapping[str, str]) -> None:
        self.box, self.env = box, env
        self.template: Standby | None = None
        self.plain = ""
        """Why kernels here cannot be copied; empty when they can."""
        self.one_view = ""
        """Why copies cannot have files of their own; empty when they can."""
        self.branching = True
        """Whether files of their own were asked for."""
        self.living: dict[object, set[int]] = {}
        """For each kernel that lives here: its process and its standbys."""
        self.end_aside: Callable[[Coroutine[Any, Any, None]], Awaitable[None]] | None = None
        """Who sees to it that the box ends when nobody waits for that; None when somebody does."""
        self.moving = asyncio.Lock()
        """Held while a copy has no view of its own yet, and while a view's programs are ended."""
        self._stack = AsyncExitStack()
        self._names = count(1)

    @classmethod
    async def open(
        cls, make_sandbox: Callable[[], Sandbox], paths: Mapping[str, PurePosixPath]
    ) -> "ForkServer":
        """A new box with a template. `paths` become environment variables, as the box has them.

        Raises `SandboxError`, `KernelError`.
        """
        async with AsyncExitStack() as stack:
            box = await stack.enter_async_context(make_sandbox())
            home = cls(box, {name: str(box.where(path)) for name, path in paths.items()})
            home.branching = box.branching
            try:
                home.template = await boot(box, libraries=box.libraries, env=home.env)
                stack.callback(home.template.close)
                await box.snapshot(PRISTINE)
                home.one_view = await home.template.why_one_view(box)
            except ForkingUnavailable as error:
                home.plain = str(error)
            except OSError as error:
                raise SandboxError(f"the box cannot keep files: {error.strerror}") from error
            home._stack = stack.pop_all()
        return home

    @property
    def missing(self) -> str:
        """What this home cannot do and why; empty when it can do everything that was asked for."""
        if self.plain:
            return (
                f"{self.plain}; so kernels are plain ones: a broken kernel's cells are run again,"
                " validate_code does not see variables, and a fork runs the cells again in a box"
                " of its own"
            )
        if self.one_view and self.branching:
            return (
                f"copies of the kernel cannot have files of their own ({self.one_view}); so"
                " validate_code holds everything else still, and a fork runs the cells again in a"
                " box of its own"
            )
        return ""

    def name(self) -> str:
        """A new name for a snapshot."""
        return f"files-{next(self._names)}"

    def others(self, than: object) -> Iterator[int]:
        """Processes of all that live here but one."""
        for who, pids in self.living.items():
            if who is not than:
                yield from pids

    async def leave(self, who: object) -> None:
        """One less lives here; with the last one the box ends."""
        self.living.pop(who, None)
        if self.living:
            return
        ending = self._stack.aclose()
        await (ending if self.end_aside is None else self.end_aside(ending))
