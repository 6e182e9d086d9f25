"""Start a program of this folder: `python boot.py template '{"libraries": [], …}'`.

The folder is imported as a package with a private name, from where it is, and never stands on
`sys.path`: an agent may call a module of its own `fork` or `guest`.
"""

import sys

FOLDER = __file__.rpartition("/")[0]
sys.path[:] = [path for path in sys.path if path != FOLDER]

import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402

PACKAGE = "_kernel_env"


def main() -> None:
    """Run the program that the first argument names with the JSON of the second."""
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    sys.argv[:] = ["ipykernel_launcher.py"]  # what a cell that parses its arguments expects
    spec = importlib.util.spec_from_file_location(
        PACKAGE, os.path.join(FOLDER, "__init__.py"), submodule_search_locations=[FOLDER]
    )
    assert spec is not None
    assert spec.loader is not None
    package = sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    importlib.import_module(f"{PACKAGE}.{name}").main(arguments)


if __name__ == "__main__":
    main()
