"""Where `base` is."""
