"""Make tasks: from a table, from another benchmark, with a leaderboard of reference pipelines."""
