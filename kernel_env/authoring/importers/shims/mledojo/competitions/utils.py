"""Export the helper functions that the competitions' own code calls."""

from kernel_env.authoring.importers.external_code import (
    compress,
    df_to_one_hot,
    extract,
    get_logger,
    read_csv,
)

__all__ = ["compress", "df_to_one_hot", "extract", "get_logger", "read_csv"]
