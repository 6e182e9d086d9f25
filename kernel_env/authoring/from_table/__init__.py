"""Create a task folder from a table and a target column, as a start for the task's author."""

from kernel_env.authoring.from_table.design import Design, design
from kernel_env.authoring.from_table.folder import NewTask, check_is_new, make
from kernel_env.authoring.from_table.split import Split

__all__ = ["Design", "NewTask", "Split", "check_is_new", "design", "make"]
