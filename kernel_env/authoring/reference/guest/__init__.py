"""Fixed pools of pipelines whose scores make the leaderboards of the embedded tasks."""
