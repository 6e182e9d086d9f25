"""Run a plain kernel on sockets that the host bound: `python -m guest.plain '{"key": "..."}'`.

For images and platforms whose kernels cannot be forked; see `template` for the others.
"""

import json
import os
import sys
from typing import Any

from .kernel_app import App, Kernel


def main() -> None:
    """Serve until the host closes the sandbox."""
    given = json.loads(sys.argv[1])
    os.environ.pop("PYTHONPATH", None)
    sys.path[:] = [path for path in sys.path if path != given["path"]]
    app: Any = App.instance(kernel_class=Kernel)
    app.adopt(given["key"], given["sockets"])
    app.boot()
    app.start()


if __name__ == "__main__":
    main()
