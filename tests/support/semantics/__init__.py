"""Programs of a few cells, and what runs them in plain Jupyter and in forkable kernels."""
