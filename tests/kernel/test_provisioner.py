"""Any Jupyter client can start a sandboxed kernel by its kernelspec."""

import json
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

CODE = "import os, socket\nx = 41\nprint(x + 1, sorted(os.listdir()), socket.if_nameindex()[0][1])"


@pytest.mark.filterwarnings("ignore")  # nbclient's own
async def test_nbclient_runs_a_notebook_in_a_sandbox_by_its_kernelspec(
    tmp_path: Path, sandbox: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text("hello")
    tmp_path.chmod(0o755)
    folder = tmp_path / "kernels" / "sealed"
    folder.mkdir(parents=True)
    kernelspec = {
        "argv": [],
        "display_name": "Sealed",
        "language": "python",
        "metadata": {
            "kernel_provisioner": {
                "provisioner_name": "kernel-env",
                "config": {"sandbox": sandbox, "image": "base", "data": str(data)},
            }
        },
    }
    (folder / "kernel.json").write_text(json.dumps(kernelspec))
    kernelspecs = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)] * 2)

    manager = AsyncKernelManager(kernel_name="sealed", kernel_spec_manager=kernelspecs)
    await NotebookClient(notebook, km=manager, timeout=60).async_execute(cleanup_kc=True)

    assert notebook.cells[1].outputs[0].text == "42 [] lo\n"
    assert not manager.has_kernel
