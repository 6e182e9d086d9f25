"""Download competitions and leaderboards through the Kaggle client, in a separate process."""

from kernel_env.tasks.kaggle.competition import (
    NAME,
    RAW,
    Progress,
    board_file,
    download,
    is_whole,
    leaderboard,
    place,
    silent,
    sums,
)

__all__ = [
    "NAME",
    "RAW",
    "Progress",
    "board_file",
    "download",
    "is_whole",
    "leaderboard",
    "place",
    "silent",
    "sums",
]
