"""Make a leaderboard: run reference pipelines in a container and grade what they predict."""
