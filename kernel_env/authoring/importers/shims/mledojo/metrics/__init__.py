"""Contain the replacement of `mledojo.metrics.base`."""
