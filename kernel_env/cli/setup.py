"""Implement `kernel-env setup`: provide a Docker engine and the default image."""

from kernel_env.cli.console import print_message, progress


def setup() -> None:
    """Install Docker if needed and build the default image. Safe to re-run."""
    from kernel_env.errors import SandboxError
    from kernel_env.sandbox.docker import engine, images

    try:
        if not engine.ensure(print_message):
            return
    except SandboxError as error:
        print_message(f"WARNING: {error}")
        print_message("WARNING: only the sandbox `local` is available, and IT ISOLATES NOTHING")
        return
    client = engine.connect()
    with progress() as report:
        images.build(client, images.find(images.DEFAULT), report)
