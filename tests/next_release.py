"""Run the tests of kernels with the Python of the distribution's next release.

    python tests/next_release.py [trixie]

Builds the images once more, on a system of that release. Runs the tests of kernels in containers of
them, and then, inside such a container, the tests that need no engine: there the sandbox `local` has
the newer Python. `make test-next` runs it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import docker

from kernel_env import cache
from kernel_env.errors import SandboxError
from kernel_env.sandbox.docker import debian, engine, images, seccomp

ROOT = Path(__file__).parents[1]
NEXT = "trixie"
"""Code name of the next release. `forky` has a still newer Python, and changes every day."""
HOST_RELEASES = ("bookworm", "trixie")
"""Releases whose mirrors and keys can provide it."""
IMAGES = (Path("images/base"), Path("images/tabular"), Path("tests/support/images/tests"))
PROJECT = "/project"
KERNELS = (
    *("tests/kernel/connection", "tests/kernel/guest", "tests/kernel/test_plain.py"),
    *("tests/kernel/test_recoverable.py", "tests/kernel/faults/test_crashes.py"),
    *("tests/kernel/faults/test_files.py", "tests/kernel/faults/test_interpreter.py"),
    "tests/kernel/faults/test_restored_state.py",
)
"""Tests that run on the host, with containers of the new images."""
NO_ENGINE = ("-m", "not docker and not kaggle and not browser and not llm")
INSIDE = (
    *("tests/kernel/forking", "tests/kernel/guest", "tests/kernel/test_plain_semantics.py"),
    *("tests/episode/test_fork_recovery.py", "tests/episode/test_forks.py"),
    *("tests/episode/test_recovery.py", "tests/episode/test_trials.py", "tests/gym/test_make.py"),
)
"""Tests that run inside a container. Both lists are chosen to take a minute each."""
WITHOUT_USER_NAMESPACES = ("tests/episode/test_without_user_namespaces.py",)
"""Tests that run inside a container in which forks share their files."""
INSTALL = (
    "/pip/bin/pip --python /opt/venv/bin/python install -q --no-deps --no-build-isolation"
    f" --no-index --no-cache-dir --target /tmp/project {PROJECT}"
)
"""Installs the project beside its folder: its plug-ins are found by its metadata."""
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-n", "3", "--dist", "loadfile")


def unavailable_reason(release: str) -> str | None:
    """Return why a system of the next release cannot be built here; None if it can."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return "it is built from the distribution's packages, by root"
    try:
        engine.connect().close()
        if (own := debian.release_codename()) not in HOST_RELEASES:
            return f"this machine's release is {own}, and its mirrors have no {release}"
    except SandboxError as error:
        return str(error)
    return None


def say(text: str, _: float | None = None) -> None:
    """Print a line on what is done."""
    print(f"next release: {text}", flush=True)


@contextmanager
def image_folder(release: str) -> Iterator[Path]:
    """Yield a folder of images: those of the project and that of the tests, on the new release."""
    client = engine.connect()
    try:
        root = root_image(client, release)
        with TemporaryDirectory(prefix="kernel-env-") as created:
            folder = Path(created)
            for source in IMAGES:
                shutil.copytree(ROOT / source, folder / source.name)
            base = folder / "base" / "Dockerfile"
            text = re.sub(
                r"^ARG BASE=\S+", f"ARG BASE={root}", base.read_text(), flags=re.MULTILINE
            )
            base.write_text(text)
            for image in images.known(folder).values():
                images.build(client, image, say_steps())
            yield folder
    finally:
        client.close()


def say_steps() -> images.Progress:
    """Return a progress report that prints only the name of each image that is built."""
    seen: set[str] = set()

    def report(text: str, _: float | None) -> None:
        name = text.split(": ")[0]
        if name != text and name not in seen:
            seen.add(name)
            say(f"building the image {name}")

    return report


def root_image(client: docker.DockerClient, release: str) -> str:
    """Return an image of a minimal system of the new release, which is built if it is missing."""
    made_from = repr((release, debian.PACKAGES, debian.EXCLUDED_PATHS))
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    repository, tag = "kernel-env-tests/debian", f"{release}-{digest}"
    if not client.images.list(f"{repository}:{tag}"):
        with TemporaryDirectory(prefix="kernel-env-", dir=cache.folder()) as folder:
            archive = Path(folder, "root.tar")
            debian.build_root_archive(archive, say, release=release)
            client.api.import_image_from_file(
                str(archive),
                repository=repository,
                tag=tag,
                changes=[f"LABEL {images.LABEL}=image", 'CMD ["python3"]'],
            )
    return f"{repository}:{tag}"


def run_on_the_host(folder: Path) -> int:
    """Run the tests of kernels in containers of the new images. Returns pytest's exit code."""
    environment = {**os.environ, "KERNEL_ENV_IMAGES": str(folder)}
    return subprocess.run(
        [sys.executable, *PYTEST, "-m", "docker", *KERNELS], env=environment, cwd=ROOT
    ).returncode


def run_inside(folder: Path, tests: Sequence[str], security: Sequence[str]) -> int:
    """Run tests that need no engine inside a container. Returns pytest's exit code."""
    client = engine.connect()
    container = client.containers.run(
        images.find("tests", folder).tag,
        ["sh", "-c", f'{INSTALL} && exec "$@"', "sh", "python", *PYTEST, *NO_ENGINE, *tests],
        detach=True,
        environment={
            "PYTHONPATH": "/tmp/project",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",  # the project's folder is read-only
        },
        init=True,
        labels={images.LABEL: "test"},
        network_mode="none",
        security_opt=[*security],
        tmpfs={"/tmp": "exec,size=2g,mode=1777"},  # the upper layers of their overlays
        volumes={str(ROOT): {"bind": PROJECT, "mode": "ro"}},
        working_dir=PROJECT,
    )
    try:
        for output in container.logs(stream=True, follow=True):
            sys.stdout.buffer.write(output)
            sys.stdout.flush()
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)
        client.close()


def main() -> int:
    """Run both. Returns the exit code."""
    release = sys.argv[1] if len(sys.argv) > 1 else NEXT
    if reason := unavailable_reason(release):
        print(f"the tests on {release} are skipped: {reason}")
        return 1 if os.environ.get("CI") else 0
    with image_folder(release) as folder:
        return (
            run_on_the_host(folder)
            or run_inside(folder, INSIDE, [f"seccomp={seccomp.profile()}"])
            or run_inside(folder, WITHOUT_USER_NAMESPACES, [])
        )


if __name__ == "__main__":
    sys.exit(main())
