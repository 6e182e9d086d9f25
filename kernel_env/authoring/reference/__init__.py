"""Create reference leaderboards from reference pipelines that run in a container."""
