"""Check whether a result can be trusted: the task it was scored on, and the trajectory."""
