"""Prove a task folder sound: what an agent could exploit is looked for and tried out.

Each module is a group of checks; a check takes a `TaskUnderTest` and returns findings.
"""

from kernel_env.audit.task.finding import Finding
from kernel_env.audit.task.run_checks import check

__all__ = ["Finding", "check"]
