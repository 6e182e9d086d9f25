"""Run `python -m kernel_env.cli` as `kernel-env`."""

from kernel_env.cli import main

main()
