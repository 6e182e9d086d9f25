"""Run one agent on one task: actions in, steps out, everything recorded."""

from kernel_env.episode.episode import Episode, open_episode

__all__ = ["Episode", "open_episode"]
