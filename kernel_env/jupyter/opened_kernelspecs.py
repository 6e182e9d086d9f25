"""Find the kernelspecs of a JupyterLab that `kernel-env open` started."""

import os

from jupyter_client.kernelspec import KernelSpecManager
from traitlets import default

from kernel_env.jupyter.kernelspecs import FOLDER_VARIABLE


class OpenedKernelSpecs(KernelSpecManager):
    """Finds the kernelspecs in one folder, and no other: not those of this machine's Pythons."""

    ensure_native_kernel = False

    @default("kernel_dirs")
    def _folder_of_this_server(self) -> list[str]:
        return [os.environ[FOLDER_VARIABLE]]
