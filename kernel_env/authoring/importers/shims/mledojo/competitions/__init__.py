"""Contain the replacement of `mledojo.competitions.utils`."""
