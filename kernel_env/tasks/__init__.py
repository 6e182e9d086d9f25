"""Load task folders (`spec`), find them (`catalog`) and prepare their data (`prepare`)."""

from kernel_env.tasks.spec import Task

__all__ = ["Task"]
