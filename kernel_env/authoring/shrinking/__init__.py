"""Make a small variant of a task, and say how well it predicts the large one.

`rows` chooses rows, `folder` writes the variant with a leaderboard of its own.
"""

from kernel_env.authoring.shrinking.folder import Shrunk, agreement, shrink

__all__ = ["Shrunk", "agreement", "shrink"]
