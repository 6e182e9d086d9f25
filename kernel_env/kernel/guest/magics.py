"""Show in the output what IPython sends to a pager or to the next input, and replace `%pip`.

A notebook shows them elsewhere; an agent has nothing but the output of its cell.
"""

import importlib.util
import sys
from typing import Any

from IPython.core import page


def install(shell: Any, *, payloads: bool) -> None:
    """Change the hooks and magics of a shell.

    With `payloads` a pager's text and the next input stay in the reply, where notebooks look.
    """

    def show(data: Any, *_: Any, **__: Any) -> None:
        bundle = data if isinstance(data, dict) else {"text/plain": str(data)}
        shell.display_pub.publish(data=bundle, metadata={})

    if not payloads:
        shell.set_hook("show_in_pager", page.as_hook(show), 0)
        shell.set_next_input = lambda text, replace=False: show(text)  # noqa: ARG005
    if importlib.util.find_spec("pip") is None:
        shell.register_magic_function(report_missing_pip, magic_name="pip")


def report_missing_pip(line: str) -> None:
    """Say that nothing can be installed, in place of `%pip`."""
    sys.stderr.write(
        f"%pip {line[:200]}: packages cannot be installed here, because pip and the network are"
        " missing. Use the libraries that are installed.\n"
    )
