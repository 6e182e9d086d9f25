"""Make a task folder out of a table and a target column, for its author to go on with."""

from kernel_env.authoring.from_table.design import Design, Split, design
from kernel_env.authoring.from_table.folder import Made, make

__all__ = ["Design", "Made", "Split", "design", "make"]
