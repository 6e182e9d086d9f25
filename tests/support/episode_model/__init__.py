"""Compare episodes under random actions with a model that is a few dictionaries."""
