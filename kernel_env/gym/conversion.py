"""Convert what an agent sees, and what is known of its episode, into dicts of Gymnasium."""

from typing import Any

from kernel_env.episode.episode import Episode
from kernel_env.episode.observation import Observation

ObservationDict = dict[str, Any]


def as_dict(observation: Observation) -> ObservationDict:
    """Return an observation as a dict of `KernelEnv.observation_space`."""
    return {
        "text": observation.text,
        "error": observation.error,
        "restored": observation.restored,
        "state_lost": observation.state_lost,
        "public_score": observation.public_score,
        "best_public_score": observation.best_public_score,
        "position": float(observation.position),
        "steps_left": observation.steps_left,
        "seconds_left": float(observation.seconds_left),
    }


def info_of(episode: Episode) -> dict[str, Any]:
    """Return the `info` of an environment."""
    seen, result, header = episode.observation, episode.result, episode.setup.header
    return {
        "episode": header.episode,
        "group": header.group,
        "steps_done": len(episode.steps),
        "images": list(seen.images),
        "html": list(seen.html),
        "private_score": result.private_score if result else seen.private_score,
        "over": episode.over or "",
        "result": result.json() if result else None,
    }
