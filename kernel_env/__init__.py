"""Agents do machine-learning engineering on a live Jupyter kernel in a sealed container."""
