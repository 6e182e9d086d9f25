"""Download competitions and leaderboards with Kaggle's client, in a separate process."""

from kernel_env.tasks.kaggle.competition import (
    NAME,
    RAW,
    Progress,
    checksums,
    competition_folder,
    download,
    is_downloaded,
    no_progress,
)
from kernel_env.tasks.kaggle.leaderboard import download_leaderboard, leaderboard_file

__all__ = [
    "NAME",
    "RAW",
    "Progress",
    "checksums",
    "competition_folder",
    "download",
    "download_leaderboard",
    "is_downloaded",
    "leaderboard_file",
    "no_progress",
]
