"""Check a task folder for flaws that an agent could exploit.

Each module is a group of checks. A check takes a `TaskUnderTest` and returns findings. Checks that
do not apply or cannot run here are reported as such.
"""

from kernel_env.audit.task.finding import Finding
from kernel_env.audit.task.run_checks import check

__all__ = ["Finding", "check"]
