"""Helpers of the conformance checks."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from kernel_env.sandbox.protocol import Sandbox, Spec

Make = Callable[[Spec], Sandbox]
Check = Callable[[Make], Awaitable[None]]

SMALL = Spec(image="base", memory_gb=0.5, workspace_gb=0.0625, cpus=1, processes=64, files=2000)
LIMIT = 1 << 20


def check_name(check: Check) -> str:
    """Return the name of a check as a sentence."""
    return getattr(check, "__name__", "check").replace("_", " ")


@contextmanager
def raises(kind: type[BaseException], word: str = "") -> Iterator[None]:
    """Require that the block raises an error of this kind whose text contains `word`."""
    try:
        yield
    except kind as error:
        if word not in str(error):
            raise AssertionError(f"{word!r} is not in {error}") from error
    else:
        raise AssertionError(f"no {kind.__name__}")


async def sh(sandbox: Sandbox, script: str, *, timeout_s: float = 20) -> tuple[int, str]:
    """Run a shell script in the workspace. Returns its exit code and output."""
    done = await sandbox.run(["sh", "-c", script], timeout_s=timeout_s)
    return done.exit_code, done.output.decode().strip()


async def python(sandbox: Sandbox, program: str, *, timeout_s: float = 20) -> str:
    """Run a Python program. Returns the last line of its output."""
    done = await sandbox.run([sandbox.python, "-c", program], timeout_s=timeout_s)
    return done.output.decode().strip().rpartition("\n")[2]
