"""Run Jupyter kernels in a sandbox: kernels that survive crashes and can be forked."""

from kernel_env.kernel.connection.client import KernelClient, open_kernel

__all__ = ["KernelClient", "open_kernel"]
