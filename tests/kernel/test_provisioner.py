import json
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient


@pytest.mark.filterwarnings("ignore")  # nbclient's own
async def test_a_kernelspec_starts_our_box_for_any_jupyter_client(
    tmp_path: Path, sandbox: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text("hello")
    tmp_path.chmod(0o755)
    folder = tmp_path / "kernels" / "sealed"
    folder.mkdir(parents=True)
    spec = {
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
    (folder / "kernel.json").write_text(json.dumps(spec))
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    code = (
        "import os, socket\nx = 41\nprint(x + 1, sorted(os.listdir()), socket.if_nameindex()[0][1])"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)] * 2)

    manager = AsyncKernelManager(kernel_name="sealed", kernel_spec_manager=specs)
    await NotebookClient(notebook, km=manager, timeout=60).async_execute(cleanup_kc=True)

    assert notebook.cells[1].outputs[0].text == "42 [] lo\n"
    assert not manager.has_kernel
