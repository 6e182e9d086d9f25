"""Create a task folder from a table and a target column, as a start for the task's author."""

from kernel_env.authoring.from_table.design import Design, design, known_domain
from kernel_env.authoring.from_table.folder import NewTask, check_is_new, make
from kernel_env.authoring.from_table.split import Split
from kernel_env.authoring.from_table.target import without_rare_classes

__all__ = [
    "Design",
    "NewTask",
    "Split",
    "check_is_new",
    "design",
    "known_domain",
    "make",
    "without_rare_classes",
]
