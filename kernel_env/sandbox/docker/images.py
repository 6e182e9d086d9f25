"""Build the images of the containers.

An image is a folder with a Dockerfile and locked requirements. Its tag contains a hash of
everything it is made from, including its parent's tag, so an unchanged image is never built again
and a changed one always is:

    images/tabular/Dockerfile       ARG BASE=kernel-env/base
    images/tabular/requirements.lock                           -> kernel-env/tabular:4c1f...

A folder with a `requirements-cuda.lock` makes two images of one name: containers with a GPU get the
one with these requirements.

Builds have no network. Wheels are downloaded on the host, with the mirrors and certificates of its
own pip. The first image starts from a public one if a registry answers, otherwise from the packages
of the host's distribution.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound

from kernel_env import cache
from kernel_env.errors import SandboxError, UnknownName, UsageError
from kernel_env.sandbox.docker import debian
from kernel_env.sandbox.docker.engine import as_sandbox_error

PREFIX = "kernel-env/"
LABEL = "kernel-env"
"""Label of every image of kernel_env: `image`, or `build` on intermediate ones."""
LIBRARIES = "libraries.txt"
REQUIREMENTS = "requirements.lock"
CUDA_REQUIREMENTS = "requirements-cuda.lock"
DEFAULT = "tabular"
"""The image that `setup` builds, with its ancestors; another one is built when a task names it."""
PRINT_PLATFORM = """
import json, platform, sys
print(json.dumps([*sys.version_info[:2], platform.machine(), platform.libc_ver()[1]]))
"""
MIN_PYTHON = (3, 11)
ENGINE_LINES = (" ---> ", "Removing intermediate container ")
"""How lines begin that the engine itself adds to the output of a build."""

Progress = Callable[[str, float | None], None]
"""Receives a line on the current step and, where it is known, the completed share from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of kernel_env, built or not."""

    name: str
    folder: Path
    requirements: Path
    """The lock file with what it adds to its parent."""
    cuda: bool
    """Whether it or an ancestor has requirements for CUDA, and uses them."""
    base: str
    """The image it starts from: the parent's tag, or the name of a public image."""
    parent: "Image | None"
    """None if it starts from a public image."""
    tag: str
    """The name by which the engine knows it; changes with everything the image is made from."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Return the libraries its kernels import in advance: `libraries.txt`, or its parent's."""
        listed = self.folder / LIBRARIES
        if listed.is_file():
            return tuple(listed.read_text("utf-8").split())
        return self.parent.libraries if self.parent else ()

    @property
    def build_order(self) -> "list[Image]":
        """Return its ancestors and itself, in the order in which they are built."""
        return [*(self.parent.build_order if self.parent else []), self]


@dataclass(frozen=True, kw_only=True)
class Python:
    """The interpreter in an image, for which wheels are selected."""

    version: tuple[int, int]
    machine: str
    glibc: tuple[int, int]

    def pip_options(self) -> list[str]:
        """Return the options of `pip download` that select wheels for this interpreter."""
        short = "".join(map(str, self.version))
        major, newest = self.glibc
        platforms = [f"manylinux_{major}_{minor}" for minor in range(newest, 4, -1)]
        platforms += ["manylinux2014", "manylinux2010", "manylinux1", "linux"]
        return [
            *("--python-version", ".".join(map(str, self.version))),
            *("--implementation", "cp", "--abi", f"cp{short}"),
            *(f"--platform={platform}_{self.machine}" for platform in platforms),
        ]


def images_folder() -> Path:
    """Return the folder of the images: beside the package in a checkout, inside it if installed.

    The environment variable KERNEL_ENV_IMAGES names another one.
    """
    if configured := os.environ.get("KERNEL_ENV_IMAGES"):
        return Path(configured).expanduser()
    package = Path(__file__).parents[2]
    installed = package / "_images"
    return installed if installed.is_dir() else package.parent / "images"


def known(root: Path | None = None) -> dict[str, Image]:
    """Return every image by name."""
    root = images_folder() if root is None else root
    names = sorted(path.parent.name for path in root.glob("*/Dockerfile"))
    return {name: find(name, root) for name in names}


def find(name: str, root: Path | None = None, *, cuda: bool = False) -> Image:
    """Return the image of that name; with `cuda`, the one for GPUs if there are two.

    Raises `UnknownName`, and `UsageError` for a Dockerfile without the line `ARG BASE=`, or for a
    folder without a lock file.
    """
    root = images_folder() if root is None else root
    return _find(name, root, cuda, ())


def _find(name: str, root: Path, cuda: bool, children: tuple[str, ...]) -> Image:
    names = {path.parent.name for path in root.glob("*/Dockerfile")}
    if name not in names:
        raise UnknownName("image", name, names)
    if name in children:
        raise UsageError(f"the image {name!r} is its own ancestor: {' ← '.join([*children, name])}")
    dockerfile = root / name / "Dockerfile"
    argument = re.search(r"^ARG BASE=(\S+)", dockerfile.read_text("utf-8"), re.MULTILINE)
    if argument is None:
        raise UsageError(f"{dockerfile} has no line `ARG BASE=…` naming the image it starts from")
    base, parent = argument[1], None
    if base.startswith(PREFIX):
        parent = _find(base.removeprefix(PREFIX), root, cuda, (*children, name))
        base = parent.tag
    requirements = root / name / CUDA_REQUIREMENTS
    if not (own_cuda := cuda and requirements.is_file()):
        requirements = requirements.with_name(REQUIREMENTS)
    if not requirements.is_file():
        raise UsageError(f"{requirements} is missing; it may be empty")
    digest = _digest(base, *_files(root / name, requirements))
    return Image(
        name=name,
        folder=root / name,
        requirements=requirements,
        cuda=own_cuda or (parent is not None and parent.cuda),
        base=base,
        parent=parent,
        tag=f"{PREFIX}{name}:{digest}",
    )


def is_built(client: docker.DockerClient, image: Image) -> bool:
    """Return whether the engine has this version of the image."""
    return _exists(client, image.tag)


def build_command(image: Image) -> str:
    """Return the command that builds the image."""
    return f"kernel-env images build {image.name}{' --cuda' if image.cuda else ''}"


def environment(client: docker.DockerClient, image: Image) -> dict[str, str]:
    """Return the environment variables that a built image sets."""
    variables = client.images.get(image.tag).attrs["Config"].get("Env") or []
    return dict(variable.split("=", 1) for variable in variables)


def build(client: docker.DockerClient, image: Image, progress: Progress) -> None:
    """Build an image and its ancestors, unless they are built already.

    Several processes can call it at once: one builds, the others wait. Raises `SandboxError` if a
    download or the build fails, or if a disk is full.
    """
    with as_sandbox_error(f"the image {image.name!r} cannot be built"):
        if is_built(client, image):
            return
        with _build_lock(progress) as scratch:
            for ancestor in image.build_order:
                if not is_built(client, ancestor):
                    _build(client, ancestor, _with_name(ancestor, progress), scratch)


def _build(client: docker.DockerClient, image: Image, progress: Progress, scratch: Path) -> None:
    base = image.base if image.parent else _base_image(client, image.base, progress, scratch)
    python = _inspect_python(client, base)
    wheels = scratch / image.name / "wheels"
    wheels.mkdir(parents=True)
    context = wheels.with_name("context.tar")
    _download_wheels(image.requirements, python, wheels, progress)
    files = _files(image.folder, image.requirements)
    _write_context(context, [*files, *((f"wheels/{f.name}", f) for f in wheels.iterdir())])
    shutil.rmtree(wheels)
    try:
        with context.open("rb") as file:
            steps = client.api.build(
                fileobj=file,
                custom_context=True,
                tag=image.tag,
                buildargs={"BASE": base},
                labels={LABEL: "image"},
                network_mode="none",
                rm=True,
                forcerm=True,
                use_config_proxy=False,
                decode=True,
            )
            _follow_build(image, steps, progress)
    finally:
        with suppress(APIError):  # another prune is running already
            client.images.prune(filters={"dangling": True, "label": f"{LABEL}=build"})
        context.unlink()


def _base_image(client: docker.DockerClient, public: str, progress: Progress, scratch: Path) -> str:
    """Return an image with Python: the public one, or one built here if no registry answers."""
    if _exists(client, public):
        return public
    progress(f"pulling {public}", None)
    if (refusal := _pull(client, public)) is None:
        return public
    progress(f"{public} cannot be pulled ({refusal})", None)
    if (reason := _root_unavailable_reason()) is not None:
        raise SandboxError(f"{public} cannot be pulled ({refusal}), and {reason}")
    digest = _digest(repr((debian.PACKAGES, debian.EXCLUDED_PATHS)))
    built_here = f"{PREFIX}debian:{debian.release_codename()}-{digest}"
    if not _exists(client, built_here):
        archive = scratch / "root.tar"
        debian.build_root_archive(archive, lambda text: progress(text, None))
        response = client.api.import_image_from_file(
            str(archive),
            repository=built_here.partition(":")[0],
            tag=built_here.partition(":")[2],
            changes=[f"LABEL {LABEL}=image", 'CMD ["python3"]'],
        )
        archive.unlink()
        if not _exists(client, built_here):
            raise SandboxError(f"the engine did not import the root file system: {response}")
    return built_here


def _pull(client: docker.DockerClient, public: str) -> str | None:
    """Pull an image. Returns why that failed; None if it did not."""
    try:
        with as_sandbox_error("no"):
            for event in client.api.pull(public, stream=True, decode=True):
                if "error" in event:
                    return str(event["error"])
    except SandboxError as error:
        return str(error).removeprefix("no: ")
    return None


def _root_unavailable_reason() -> str | None:
    if shutil.which("apt-get") is None:
        return "this machine has no apt-get to build a system from packages instead"
    if shutil.which("mmdebstrap") is None and (reason := debian.install_unavailable_reason()):
        return f"mmdebstrap is not installed to build one from packages ({reason})"
    return None


def _inspect_python(client: docker.DockerClient, tag: str) -> Python:
    output = client.containers.run(
        tag,
        entrypoint=["python3", "-c", PRINT_PLATFORM],
        command=[],
        network_mode="none",
        remove=True,
        labels={LABEL: "build"},
        log_config=docker.types.LogConfig(type="json-file"),
        use_config_proxy=False,
    )
    major, minor, machine, glibc = json.loads(output)
    if (major, minor) < MIN_PYTHON:
        raise SandboxError(f"{tag} has Python {major}.{minor}; the images need 3.11 or newer")
    if not re.fullmatch(r"\d+\.\d+", glibc):
        raise SandboxError(f"{tag} is not built on glibc, which the wheels need")
    first, second = map(int, glibc.split("."))
    return Python(version=(major, minor), machine=machine, glibc=(first, second))


def _download_wheels(lock: Path, python: Python, wheels: Path, progress: Progress) -> None:
    total = len(re.findall(r"^\S+==", lock.read_text("utf-8"), re.MULTILINE))
    argv = [
        *_pip_command(),
        *("download", "--dest", str(wheels), "--requirement", str(lock)),
        *("--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--progress-bar=off", "--no-input", "--disable-pip-version-check"),
        *python.pip_options(),
    ]
    output: list[str] = []
    seen = 0
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                output.append(line)
                if found := re.match(
                    r"(?:Collecting|Processing) (?:\S*/)?([\w.-]+?)(?:==|-\d|\s)", line
                ):
                    seen += 1
                    progress(f"downloading {found[1]}", 0.5 * min(seen / max(total, 1), 1))
        except BaseException:
            pip.terminate()
            raise
    if pip.returncode != 0:
        reason = debian.error_line("".join(output)).partition(" (from versions: ")[0]
        if re.search(r"==\S+\+", reason):
            reason += (
                "; versions with a + are in another index than pip's own: name it in the"
                " environment variable PIP_EXTRA_INDEX_URL, or a folder in PIP_FIND_LINKS"
            )
        raise SandboxError(f"pip could not download the wheels: {reason}")


def _pip_command() -> Sequence[str]:
    pythons = [sys.executable, shutil.which("python3"), "/usr/bin/python3"]
    for python in filter(None, pythons):
        argv = [python, "-m", "pip"]
        if Path(python).exists() and debian.run([*argv, "--version"]).exit_code == 0:
            return argv
    raise SandboxError(f"no pip found to download wheels; run: {sys.executable} -m ensurepip")


def _write_context(archive: Path, files: Sequence[tuple[str, Path]]) -> None:
    """Write a build context in which owners, modes and times are the same on every host."""

    def normalise(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mode = 0o755 if member.isdir() else 0o644
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(archive, "w") as tar:
        folder = tarfile.TarInfo("wheels")  # exists even if an image adds no wheels
        folder.type = tarfile.DIRTYPE
        tar.addfile(normalise(folder))
        for name, path in files:
            tar.add(path, name, filter=normalise)


def _follow_build(image: Image, events: Iterator[Mapping[str, Any]], progress: Progress) -> None:
    step, output, failure = "", "", ""
    for event in events:  # to the end, also after an error: that closes the connection
        text = event.get("stream", "")
        if started := re.match(r"Step (\d+)/(\d+) : (.*)", text):
            number, total, instruction = started.groups()
            step, output = f"step {number} of {total}: ", ""
            done = (int(number) - 1) / int(total)
            progress(f"building: {instruction[:60]}", 0.5 + 0.5 * done)
        elif "error" in event:
            code = event.get("errorDetail", {}).get("code")
            failure = f"the command ended with exit code {code}" if code else event["error"]
        elif not text.startswith(ENGINE_LINES):
            output += text
    if failure:
        reason = debian.error_line(output) or debian.error_line(failure)
        raise SandboxError(f"the image {image.name!r} cannot be built: {step}{reason}")


@contextmanager
def _build_lock(progress: Progress) -> Iterator[Path]:
    """Hold the account's build lock; yields an empty folder that is deleted afterwards."""
    cache_folder = cache.folder()
    cache_folder.mkdir(parents=True, exist_ok=True)
    with (cache_folder / "images.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that is building images", None)
            fcntl.flock(lock, fcntl.LOCK_EX)
        scratch = cache_folder / "build"
        try:
            shutil.rmtree(scratch, ignore_errors=True)  # left by a build that was killed
            scratch.mkdir()
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _with_name(image: Image, progress: Progress) -> Progress:
    return lambda text, done: progress(f"{image.name}: {text}", done)


def _exists(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def _files(folder: Path, requirements: Path) -> list[tuple[str, Path]]:
    """Return the files of an image's folder, except notes and files for the host.

    The chosen lock file is always called `requirements.lock`.
    """
    host_files = {folder / name for name in (LIBRARIES, REQUIREMENTS, CUDA_REQUIREMENTS)}
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in {".in", ".md"}
        and path.name[0] != "."
        and path not in host_files
    }
    return sorted({**files, REQUIREMENTS: requirements}.items())


def _digest(base: str, *files: tuple[str, Path]) -> str:
    parts = [base, *(f"{name} {hashlib.sha256(p.read_bytes()).hexdigest()}" for name, p in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
