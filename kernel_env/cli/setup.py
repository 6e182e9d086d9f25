"""`kernel-env setup`: an engine that answers, and the images of the embedded tasks."""

from kernel_env.cli.console import note, progress


def setup() -> None:
    """See to an engine and to the images; quick when both are there."""
    from kernel_env.errors import SandboxError
    from kernel_env.sandbox.docker import engine, images

    try:
        if not engine.ensure(note):
            return
    except SandboxError as error:  # an engine that refuses, or one that could not be installed
        note(f"WARNING: {error}")
        note("WARNING: only the sandbox `local` is left, and IT ISOLATES NOTHING")
        return
    client = engine.connect()
    with progress() as tell:
        for image in images.known().values():
            images.build(client, image, tell)
