"""Define the reference pipelines whose scores make the leaderboards of the embedded tasks."""
