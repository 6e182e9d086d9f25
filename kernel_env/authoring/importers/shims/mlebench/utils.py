"""Export the helper functions that the competitions' own code calls."""

from kernel_env.authoring.importers.external_code import compress, extract, get_logger, read_csv

__all__ = ["compress", "extract", "get_logger", "read_csv"]
