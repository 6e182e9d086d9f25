"""Make a task folder out of a table and a target column, for its author to go on with."""

from kernel_env.authoring.design import Design, Split, design
from kernel_env.authoring.folder import Made, make

__all__ = ["Design", "Made", "Split", "design", "make"]
