"""Install kernelspecs of sandboxed kernels, and run cells in them as Jupyter programs do."""

import json
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager

REPLY_S = 60
"""No reply in these tests takes as long; one that does never comes."""


def install_kernelspec(
    folder: Path,
    sandbox: str | None,
    *,
    name: str = "sealed",
    env: dict[str, str] | None = None,
    **config: str,
) -> KernelSpecManager:
    """Install a kernelspec in a folder, and return a manager that finds it there.

    With None the kernelspec names no sandbox.
    """
    kernelspec = {
        "argv": [],
        "display_name": "Sealed",
        "language": "python",
        "env": env or {},
        "metadata": {
            "kernel_provisioner": {
                "provisioner_name": "kernel-env",
                "config": {**({"sandbox": sandbox} if sandbox else {}), "image": "base", **config},
            }
        },
    }
    place = folder / "kernels" / name
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps(kernelspec))
    return KernelSpecManager(kernel_dirs=[str(folder / "kernels")])


def run_blocking(client: Any, code: str) -> str:
    """Run a cell with a blocking client; return its text, or the name of its error."""
    texts: list[str] = []
    reply = client.execute_interactive(
        code, allow_stdin=False, timeout=REPLY_S, output_hook=lambda m: texts.append(text_of(m))
    )
    return "".join(texts) if reply["content"]["status"] == "ok" else reply["content"]["ename"]


async def run_async(client: AsyncKernelClient, code: str) -> str:
    """Run a cell with an asynchronous client; return its text, or the name of its error."""
    texts: list[str] = []
    reply = await client.execute_interactive(
        code, allow_stdin=False, timeout=REPLY_S, output_hook=lambda m: texts.append(text_of(m))
    )
    return "".join(texts) if reply["content"]["status"] == "ok" else reply["content"]["ename"]


def text_of(message: Any) -> str:
    """Return the text of an output message."""
    content = message["content"]
    return str(content.get("text") or content.get("data", {}).get("text/plain", ""))
