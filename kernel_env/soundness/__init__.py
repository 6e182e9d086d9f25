"""Prove a task folder sound: what an agent could exploit is looked for and tried out.

Each module is a group of checks; a check takes a `Case` and returns findings.
"""

from kernel_env.soundness.check import check
from kernel_env.soundness.finding import Finding

__all__ = ["Finding", "check"]
