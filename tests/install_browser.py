"""Install the distribution's browser for the tests that drive one, where that is possible.

    python tests/install_browser.py

`make test` runs it. Without a browser these tests are skipped, or fail on CI.
"""

import os

from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import debian
from support.browser import find_browser


def main() -> None:
    """Install Chromium if there is no browser; a failure is one line."""
    if find_browser() is not None:
        return
    if os.environ.get("DOCKER", "").lower() in {"off", "0", "no", "false"}:
        print("no browser was installed, because of DOCKER=off")  # nothing is to be installed here
        return
    try:
        debian.install(["chromium"], print)
    except SandboxError as error:
        print(f"WARNING: tests that need a browser are skipped: {error}")


if __name__ == "__main__":
    main()
