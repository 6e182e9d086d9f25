"""A Jupyter kernel in a sandbox: how it comes to be (`launch`), how to talk to it (`session`)."""

from kernel_env.kernel.connection.client import KernelClient, open_kernel

__all__ = ["KernelClient", "open_kernel"]
