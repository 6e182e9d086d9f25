"""`python -m kernel_env.cli` is `kernel-env`."""

from kernel_env.cli import main

main()
