"""Where files are kept that can be made again: prepared data, and what image builds need."""

import os
from pathlib import Path

import platformdirs


def folder() -> Path:
    """The cache folder of this user; the environment variable KERNEL_ENV_CACHE moves it."""
    moved = os.environ.get("KERNEL_ENV_CACHE")
    return Path(moved) if moved else platformdirs.user_cache_path("kernel-env")
