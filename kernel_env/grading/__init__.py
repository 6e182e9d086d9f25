"""Read, check and score submissions, and place them on a leaderboard; needs no sandbox."""
