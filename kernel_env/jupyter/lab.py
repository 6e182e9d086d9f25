"""Start JupyterLab on one notebook, with sealed kernels and nothing else.

The code in the notebook can be a model's, and JupyterLab runs scripts in what a cell displays. So
this JupyterLab has no kernel but those it is given, no terminal and no extension manager, sees only
the notebook's folder, ignores the user's configuration, and its pages load and send nothing
anywhere else and run no script that a cell displays.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kernel_env import temporary
from kernel_env.errors import UsageError
from kernel_env.jupyter import kernelspecs

EXTENSIONS = Path(__file__).with_name("labextensions")
"""The folder with our extension of JupyterLab."""
CONTENT_RULES = (
    "default-src 'self'",
    "script-src 'self' 'unsafe-eval'",  # validators of settings are compiled; nothing inline
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "media-src 'self' data: blob:",
    "worker-src 'self' blob:",
    "connect-src 'self' ws://127.0.0.1:* ws://localhost:*",
    "frame-src 'self' blob:",
    "object-src 'none'",
    "form-action 'self'",
    "frame-ancestors 'self'",
)
"""What a page may load and run, in the form of the header `Content-Security-Policy`."""
DISABLED = (
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/extensionmanager-extension",
    "@jupyterlab/javascript-extension",
    "@jupyterlab/fileeditor-extension:language-server",
    "@jupyterlab/lsp-extension",
    "@jupyterlab/notebook-extension:language-server",
)
"""Extensions of the page that would ask the network, or run code of cells."""


def require() -> None:
    """Raise `UsageError` if JupyterLab is not installed."""
    if find_spec("jupyterlab") is None:
        raise UsageError("JupyterLab is not installed; run: pip install 'kernel-env[lab]'")


def run_lab(
    notebook: Path,
    specs: Mapping[str, Mapping[str, Any]],
    *,
    browser: bool,
    port: int,
    announce: Callable[[str], None],
) -> None:
    """Run JupyterLab in this process until it is ended.

    Args:
        notebook: the notebook that is shown; programs of its kernels do not see its folder.
        specs: the kernelspecs, by name; the first is that of new notebooks.
        browser: whether to open a browser.
        port: the port on 127.0.0.1; 0 for a free one.
        announce: called with the address once it serves.

    Raises `UsageError` if JupyterLab is not installed.
    """
    require()
    folder = temporary.folder()
    try:
        for name, content in specs.items():
            kernelspecs.write(folder / "kernels", name, content)
        set_environment(folder)
        write_configuration(folder, notebook, next(iter(specs)), browser=browser, port=port)
        serve(notebook.name, announce)
    finally:
        temporary.remove(folder)


def set_environment(folder: Path) -> None:
    """Let Jupyter's programs in this process find nothing but what is in the folder."""
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        kernelspecs.FOLDER_VARIABLE: "kernels",
    }
    for variable, name in places.items():
        (folder / name).mkdir(exist_ok=True)
        os.environ[variable] = str(folder / name)
    for variable in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTER_TOKEN", "JUPYTER_PORT"):
        os.environ.pop(variable, None)


def write_configuration(
    folder: Path, notebook: Path, kernel: str, *, browser: bool, port: int
) -> None:
    """Write the configuration of the server and of its pages."""
    server = {
        "Application": {"log_level": 30},
        "ServerApp": {
            "allow_root": True,
            "ip": "127.0.0.1",
            "kernel_spec_manager_class": "kernel_env.jupyter.opened_kernelspecs.OpenedKernelSpecs",
            "open_browser": browser,
            "port": port,
            "root_dir": str(notebook.parent),
            "terminals_enabled": False,
            "tornado_settings": {"headers": {"Content-Security-Policy": "; ".join(CONTENT_RULES)}},
            "jpserver_extensions": {
                "jupyterlab": True,
                "jupyter_lsp": False,
                "jupyter_server_terminals": False,
            },
        },
        "IdentityProvider": {"token": secrets.token_urlsafe(24)},
        "MappingKernelManager": {"default_kernel_name": kernel},
        "LabApp": {
            "extension_manager": "readonly",
            "extra_labextensions_path": [str(EXTENSIONS)],
            "news_url": None,
        },
    }
    config = folder / "config"
    (config / "jupyter_server_config.json").write_text(json.dumps(server))
    (config / "labconfig").mkdir()
    page = {"disabledExtensions": dict.fromkeys(DISABLED, True)}
    (config / "labconfig" / "page_config.json").write_text(json.dumps(page))


def serve(name: str, announce: Callable[[str], None]) -> None:
    """Run the server until it is ended."""
    from jupyterlab.labapp import LabApp

    app = LabApp.initialize_server(argv=[f"--LabApp.default_url=/lab/tree/{name}"])
    address = f"http://127.0.0.1:{app.port}/lab/tree/{name}?token={app.identity_provider.token}"
    app.io_loop.add_callback(announce, address)  # after the one that binds the port
    app.start()
