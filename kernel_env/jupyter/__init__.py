"""Let Jupyter programs use sandboxed kernels: a server for clients, a provisioner, kernelspecs."""
