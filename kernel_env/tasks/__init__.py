"""Tasks: their folders (`spec`), where they are (`catalog`), how they get ready (`prepare`)."""

from kernel_env.tasks.spec import Task

__all__ = ["Task"]
