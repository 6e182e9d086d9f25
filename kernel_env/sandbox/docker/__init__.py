"""Run sandboxes in Docker: the engine, the images and the sealed container."""

from kernel_env.sandbox.docker.container import DockerSandbox

__all__ = ["DockerSandbox"]
