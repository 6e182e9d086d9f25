"""Implement `kernel-env setup`: provide a Docker engine and the images."""

from kernel_env.cli.console import print_message, progress


def setup() -> None:
    """Install Docker if needed and build the images. Safe to re-run."""
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
        for image in images.known().values():
            images.build(client, image, report)
