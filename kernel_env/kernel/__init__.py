"""A Jupyter kernel in a sandbox: how it comes to be (`launch`) and how it is talked to (`session`)."""

from kernel_env.kernel.session import Kernel, open_kernel

__all__ = ["Kernel", "open_kernel"]
