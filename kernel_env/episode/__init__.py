"""Run one agent on one task: actions in, steps out, everything recorded."""

from kernel_env.episode.config import EpisodeConfig
from kernel_env.episode.episode import Episode
from kernel_env.episode.opening import open_configured, open_episode

__all__ = ["Episode", "EpisodeConfig", "open_configured", "open_episode"]
