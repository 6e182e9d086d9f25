"""The images of the containers: what each is made from, whether it is built, and building it.

An image is a folder with a Dockerfile and locked requirements. Its tag holds a hash of all it
is made from, its parent's tag included, so an unchanged image is never built again and a
changed one always is:

    images/tabular/Dockerfile       ARG BASE=kernel-env/base
    images/tabular/requirements.lock                              → kernel-env/tabular:4c1f…

Nothing inside a build reaches a network. Wheels are downloaded on the host, with the mirrors
and certificates of its own pip. The first image starts from a public one where a registry
answers, otherwise from the host distribution's packages.
"""

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from kernel_env import cache
from kernel_env.errors import SandboxError, UnknownName, UsageError
from kernel_env.sandbox.docker import debian
from kernel_env.sandbox.docker.engine import plainly

OURS = "kernel-env/"
LABEL = "kernel-env"
"""On every image of ours: `image`, or `build` on what a build leaves behind."""
LIBRARIES = "libraries.txt"
PLATFORM = """
import json, platform, sys
print(json.dumps([*sys.version_info[:2], platform.machine(), platform.libc_ver()[1]]))
"""
OLDEST = (3, 11)

Progress = Callable[[str, float | None], None]
"""Told what is being done, and how much of the image is done, from 0 to 1, where that is known."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of ours, built or not."""

    name: str
    folder: Path
    start: str
    """The image it starts from: the parent's tag, or a public image's name."""
    parent: "Image | None"
    """None when it starts from a public image."""
    tag: str
    """The name by which the engine knows it. It changes with anything the image is made from."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """What kernels in it have imported from the start: `libraries.txt`, or its parent's."""
        listed = self.folder / LIBRARIES
        if listed.is_file():
            return tuple(listed.read_text("utf-8").split())
        return self.parent.libraries if self.parent else ()

    @property
    def line(self) -> "list[Image]":
        """Its ancestors of ours and itself, in the order in which they are built."""
        return [*(self.parent.line if self.parent else []), self]


@dataclass(frozen=True, kw_only=True)
class Python:
    """The interpreter in an image, as wheels are chosen for it."""

    version: tuple[int, int]
    machine: str
    glibc: tuple[int, int]

    def selection(self) -> list[str]:
        """The options of `pip download` that choose wheels for this interpreter."""
        short = "".join(map(str, self.version))
        major, newest = self.glibc
        platforms = [f"manylinux_{major}_{minor}" for minor in range(newest, 4, -1)]
        platforms += ["manylinux2014", "manylinux2010", "manylinux1", "linux"]
        return [
            *("--python-version", ".".join(map(str, self.version))),
            *("--implementation", "cp", "--abi", f"cp{short}"),
            *(f"--platform={platform}_{self.machine}" for platform in platforms),
        ]


def folder() -> Path:
    """Where the images are described: beside the package in a checkout, inside an installed one."""
    package = Path(__file__).parents[2]
    installed = package / "_images"
    return installed if installed.is_dir() else package.parent / "images"


def known(root: Path | None = None) -> dict[str, Image]:
    """Every image there is, by name."""
    root = folder() if root is None else root
    names = sorted(path.parent.name for path in root.glob("*/Dockerfile"))
    return {name: find(name, root) for name in names}


def find(name: str, root: Path | None = None) -> Image:
    """The image of that name. Raises `UnknownName`, `UsageError` for a Dockerfile unlike ours."""
    root = folder() if root is None else root
    return _find(name, root, ())


def _find(name: str, root: Path, children: tuple[str, ...]) -> Image:
    names = {path.parent.name for path in root.glob("*/Dockerfile")}
    if name not in names:
        raise UnknownName("image", name, names)
    if name in children:
        raise UsageError(f"the image {name!r} is its own ancestor: {' ← '.join([*children, name])}")
    dockerfile = root / name / "Dockerfile"
    base = re.search(r"^ARG BASE=(\S+)", dockerfile.read_text("utf-8"), re.MULTILINE)
    if base is None:
        raise UsageError(f"{dockerfile} has no line `ARG BASE=…` naming the image it starts from")
    start, parent = base[1], None
    if start.startswith(OURS):
        parent = _find(start.removeprefix(OURS), root, (*children, name))
        start = parent.tag
    digest = _digest(start, *_files(root / name))
    return Image(
        name=name,
        folder=root / name,
        start=start,
        parent=parent,
        tag=f"{OURS}{name}:{digest}",
    )


def is_built(client: docker.DockerClient, image: Image) -> bool:
    """Whether the engine has this very image."""
    return _has(client, image.tag)


def build(client: docker.DockerClient, image: Image, progress: Progress) -> None:
    """Build an image and those it starts from, as far as they are not built.

    Safe to call from several processes at once: one builds, the others wait. Raises
    `SandboxError` when a download or the build fails, and when a disk is full.
    """
    with plainly(f"the image {image.name!r} cannot be built"):
        if is_built(client, image):
            return
        with _alone(progress) as scratch:
            for each in image.line:
                if not is_built(client, each):
                    _build(client, each, _named(each, progress), scratch)


def _build(client: docker.DockerClient, image: Image, progress: Progress, scratch: Path) -> None:
    start = image.start if image.parent else _foundation(client, image.start, progress, scratch)
    python = _python(client, start)
    wheels = scratch / image.name / "wheels"
    wheels.mkdir(parents=True)
    context = wheels.with_name("context.tar")
    _download(image.folder / "requirements.lock", python, wheels, progress)
    _pack(context, [*_files(image.folder), *((f"wheels/{f.name}", f) for f in wheels.iterdir())])
    shutil.rmtree(wheels)
    try:
        with context.open("rb") as file:
            steps = client.api.build(
                fileobj=file,
                custom_context=True,
                tag=image.tag,
                buildargs={"BASE": start},
                labels={LABEL: "image"},
                network_mode="none",
                rm=True,
                forcerm=True,
                use_config_proxy=False,
                decode=True,
            )
            _follow(image, steps, progress)
    finally:
        client.images.prune(filters={"dangling": True, "label": f"{LABEL}=build"})
        context.unlink()


def _foundation(client: docker.DockerClient, public: str, progress: Progress, scratch: Path) -> str:
    """An image with a Python: the public one, or one we make where no registry answers."""
    if _has(client, public):
        return public
    progress(f"pulling {public}", None)
    if (refusal := _pull(client, public)) is None:
        return public
    progress(f"no registry gave {public} ({refusal})", None)
    if (reason := _cannot_make_root()) is not None:
        raise SandboxError(f"{public} cannot be pulled ({refusal}), and {reason}")
    digest = _digest(repr((debian.PACKAGES, debian.LEFT_OUT)))
    own = f"{OURS}debian:{debian.suite()}-{digest}"
    if not _has(client, own):
        archive = scratch / "root.tar"
        debian.make_root(archive, lambda text: progress(text, None))
        answer = client.api.import_image_from_file(
            str(archive),
            repository=own.partition(":")[0],
            tag=own.partition(":")[2],
            changes=[f"LABEL {LABEL}=image", 'CMD ["python3"]'],
        )
        archive.unlink()
        if not _has(client, own):
            raise SandboxError(f"the engine did not import the system it was given: {answer}")
    return own


def _pull(client: docker.DockerClient, public: str) -> str | None:
    """Why the image could not be pulled; None when it was."""
    try:
        with plainly("no"):
            for event in client.api.pull(public, stream=True, decode=True):
                if "error" in event:
                    return str(event["error"])
    except SandboxError as error:
        return str(error).removeprefix("no: ")
    return None


def _cannot_make_root() -> str | None:
    if shutil.which("apt-get") is None:
        return "this machine has no apt-get to make a system of its own packages instead"
    if shutil.which("mmdebstrap") is None and (reason := debian.cannot_install()):
        return f"mmdebstrap is not installed to make one of the distribution's packages ({reason})"
    return None


def _python(client: docker.DockerClient, tag: str) -> Python:
    said = client.containers.run(
        tag,
        entrypoint=["python3", "-c", PLATFORM],
        command=[],
        network_mode="none",
        remove=True,
        labels={LABEL: "build"},
        log_config=docker.types.LogConfig(type="json-file"),
        use_config_proxy=False,
    )
    major, minor, machine, glibc = json.loads(said)
    if (major, minor) < OLDEST:
        raise SandboxError(f"{tag} has Python {major}.{minor}; the images need 3.11 or newer")
    if not re.fullmatch(r"\d+\.\d+", glibc):
        raise SandboxError(f"{tag} is not built on glibc, which the wheels need")
    first, second = map(int, glibc.split("."))
    return Python(version=(major, minor), machine=machine, glibc=(first, second))


def _download(lock: Path, python: Python, wheels: Path, progress: Progress) -> None:
    total = len(re.findall(r"^\S+==", lock.read_text("utf-8"), re.MULTILINE))
    argv = [
        *_pip(),
        *("download", "--dest", str(wheels), "--requirement", str(lock)),
        *("--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--progress-bar=off", "--no-input", "--disable-pip-version-check"),
        *python.selection(),
    ]
    said: list[str] = []
    seen = 0
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                said.append(line)
                if found := re.match(
                    r"(?:Collecting|Processing) (?:\S*/)?([\w.-]+?)(?:==|-\d|\s)", line
                ):
                    seen += 1
                    progress(f"downloading {found[1]}", 0.5 * min(seen / max(total, 1), 1))
        except BaseException:
            pip.terminate()
            raise
    if pip.returncode != 0:
        raise SandboxError(f"pip could not download the wheels: {debian.gist(''.join(said))}")


def _pip() -> Sequence[str]:
    pythons = [sys.executable, shutil.which("python3"), "/usr/bin/python3"]
    for python in filter(None, pythons):
        argv = [python, "-m", "pip"]
        if Path(python).exists() and debian.run([*argv, "--version"]).exit_code == 0:
            return argv
    raise SandboxError(f"no pip to download wheels with; run: {sys.executable} -m ensurepip")


def _pack(archive: Path, files: Sequence[tuple[str, Path]]) -> None:
    """Write a build context in which owners, modes and times are the same on every host."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mode = 0o755 if member.isdir() else 0o644
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(archive, "w") as tar:
        folder = tarfile.TarInfo("wheels")  # there even when an image adds no wheels
        folder.type = tarfile.DIRTYPE
        tar.addfile(plain(folder))
        for name, path in files:
            tar.add(path, name, filter=plain)


def _follow(image: Image, steps: Iterator[Mapping[str, str]], progress: Progress) -> None:
    said: list[str] = []
    for event in steps:
        if "error" in event:
            why = debian.gist("\n".join([event["error"], *said[-20:]]))
            raise SandboxError(f"the image {image.name!r} cannot be built: {why}")
        text = event.get("stream", "").strip()
        said += [text] if text else []
        if step := re.match(r"Step (\d+)/(\d+) : (.*)", text):
            done = (int(step[1]) - 1) / int(step[2])
            progress(f"building: {step[3][:60]}", 0.5 + 0.5 * done)


@contextmanager
def _alone(progress: Progress) -> Iterator[Path]:
    """One build at a time on this account, with an empty folder that is gone afterwards."""
    place = cache.folder()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "images.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that is building images", None)
            fcntl.flock(lock, fcntl.LOCK_EX)
        scratch = place / "build"
        try:
            shutil.rmtree(scratch, ignore_errors=True)  # of a build that was killed
            scratch.mkdir()
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _named(image: Image, progress: Progress) -> Progress:
    return lambda text, done: progress(f"{image.name}: {text}", done)


def _has(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def _files(folder: Path) -> list[tuple[str, Path]]:
    """What an image is made from: all files of its folder but notes and what the host reads."""
    return [
        (path.relative_to(folder).as_posix(), path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix not in {".in", ".md"}
        and path.name[0] != "."
        and path != folder / LIBRARIES
    ]


def _digest(start: str, *files: tuple[str, Path]) -> str:
    parts = [start, *(f"{name} {hashlib.sha256(p.read_bytes()).hexdigest()}" for name, p in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
