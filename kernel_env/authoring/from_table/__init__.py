"""Create a task folder from a table and a target column, as a start for the task's author."""

from kernel_env.authoring.from_table.design import Design, Split, design
from kernel_env.authoring.from_table.folder import NewTask, make

__all__ = ["Design", "NewTask", "Split", "design", "make"]
