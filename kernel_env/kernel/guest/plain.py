"""Run a plain kernel on sockets that the host bound. Started by `boot`.

For images and platforms whose kernels cannot be forked; see `template` for the others.
"""

import sys
from typing import Any

from .kernel_app import App, Kernel
from .private_names import RUNNING, missing_name


def main(given: dict[str, Any]) -> None:
    """Serve until the host closes the sandbox."""
    if reason := missing_name(RUNNING):
        sys.exit(reason)
    app: Any = App.instance(kernel_class=Kernel)
    app.adopt(given["key"], given["sockets"])
    app.boot(payloads=given["payloads"])
    app.start()
