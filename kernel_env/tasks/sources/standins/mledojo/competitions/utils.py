"""What the competitions' own code calls."""

from kernel_env.tasks.sources.foreign import compress, df_to_one_hot, extract, get_logger, read_csv

__all__ = ["compress", "df_to_one_hot", "extract", "get_logger", "read_csv"]
