"""Create tasks: from a table, from another benchmark, and with a reference leaderboard."""
