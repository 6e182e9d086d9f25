"""Where `utils` is."""
