"""Show a picture in a cell."""

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG = f"from IPython.display import display; display({{'image/png': '{PIXEL}'}}, raw=True)"
"""A cell that displays a picture."""
