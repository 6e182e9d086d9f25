"""Locate the cache of files that can be made again: prepared data and inputs of image builds."""

import os
from pathlib import Path

import platformdirs


def folder() -> Path:
    """Return this user's cache folder, or the one that KERNEL_ENV_CACHE names."""
    configured = os.environ.get("KERNEL_ENV_CACHE")
    return Path(configured) if configured else platformdirs.user_cache_path("kernel-env")
