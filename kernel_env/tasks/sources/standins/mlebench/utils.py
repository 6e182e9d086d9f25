"""What the competitions' own code calls."""

from kernel_env.tasks.sources.foreign import compress, extract, get_logger, read_csv

__all__ = ["compress", "extract", "get_logger", "read_csv"]
