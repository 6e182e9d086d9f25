"""Run untrusted programs: in sealed containers (`docker`) or, without isolation, in `local`."""

from kernel_env.sandbox.fork_support import ForkSupport, fork_support_of
from kernel_env.sandbox.protocol import Completed, FileStat, Process, Sandbox, Spec

__all__ = [
    "Completed",
    "FileStat",
    "ForkSupport",
    "Process",
    "Sandbox",
    "Spec",
    "fork_support_of",
]
