"""Check whether the results of a task can be trusted."""
