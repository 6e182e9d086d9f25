"""Boxes for untrusted programs: `docker` seals them, `local` only tidies up after them."""

from kernel_env.sandbox.protocol import Completed, FileStat, Process, Sandbox, Spec

__all__ = ["Completed", "FileStat", "Process", "Sandbox", "Spec"]
