import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from kernel_env.errors import SandboxError, UnknownName, UsageError
from kernel_env.sandbox.docker import debian, engine, images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of which one starts from the other."""
    for name, start in {
        "ground": "python:3.11-slim-bookworm",
        "upper": "kernel-env/ground",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(f"ARG BASE={start}\nFROM ${{BASE}}\n")
        (tmp_path / name / "requirements.lock").write_text("numpy==2.0\n")
    return tmp_path


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    try:
        client = engine.connect()
    except SandboxError as error:
        pytest.skip(str(error))
    yield client
    client.close()


@pytest.fixture(scope="module")
def tabular(client: docker.DockerClient) -> images.Image:
    image = images.find("tabular")
    images.build(client, image, lambda text, done: None)
    return image


def test_a_tag_stays_when_nothing_changes(folder: Path, tmp_path: Path) -> None:
    before = images.find("upper", folder).tag

    (folder / "upper" / "requirements.in").write_text("# a note\n")
    (folder / "upper" / "Dockerfile").touch()
    (folder / "upper" / "Dockerfile").chmod(0o600)

    assert images.find("upper", folder).tag == before


@pytest.mark.parametrize("file", ["Dockerfile", "requirements.lock", "extra/data.txt"])
@pytest.mark.parametrize("name", ["ground", "upper"])
def test_a_tag_changes_with_each_file_it_or_its_parent_is_made_from(
    folder: Path, name: str, file: str
) -> None:
    before = images.find("upper", folder).tag

    path = folder / name / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as handle:
        handle.write("# changed\n")

    assert images.find("upper", folder).tag != before


def test_a_child_does_not_change_its_parent(folder: Path) -> None:
    before = images.find("ground", folder).tag

    (folder / "upper" / "requirements.lock").write_text("numpy==2.1\n")

    assert images.find("ground", folder).tag == before


def test_an_image_knows_its_ancestors(folder: Path) -> None:
    ground, upper = images.find("upper", folder).line

    assert (ground.name, upper.name) == ("ground", "upper")
    assert ground.start == "python:3.11-slim-bookworm"
    assert upper.start == ground.tag


def test_an_unknown_image_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"no image named 'tabula'; known: base, .*tabular"):
        images.find("tabula")


def test_an_image_that_starts_from_an_unknown_one_is_refused(folder: Path) -> None:
    (folder / "upper" / "Dockerfile").write_text("ARG BASE=kernel-env/cellar\n")

    with pytest.raises(UnknownName, match="no image named 'cellar'"):
        images.find("upper", folder)


def test_an_image_that_starts_from_itself_is_refused(folder: Path) -> None:
    (folder / "ground" / "Dockerfile").write_text("ARG BASE=kernel-env/upper\n")

    with pytest.raises(UsageError, match="its own ancestor: upper ← ground ← upper"):
        images.find("upper", folder)


def test_an_image_that_does_not_say_where_it_starts_is_refused(folder: Path) -> None:
    (folder / "upper" / "Dockerfile").write_text("FROM scratch\n")

    with pytest.raises(UsageError, match="no line `ARG BASE"):
        images.find("upper", folder)


def test_every_image_of_ours_is_locked_with_hashes() -> None:
    for image in images.known().values():
        lock = (image.folder / "requirements.lock").read_text()
        pinned = [line for line in lock.splitlines() if line[:1].isalnum()]

        assert pinned
        assert all("==" in line and line.endswith("\\") for line in pinned), image.name
        assert "://" not in lock


def test_wheels_are_chosen_for_the_interpreter_in_the_image() -> None:
    options = images.Python(version=(3, 13), machine="aarch64", glibc=(2, 41)).selection()

    assert options[:6] == ["--python-version", "3.13", "--implementation", "cp", "--abi", "cp313"]
    assert "--platform=manylinux_2_28_aarch64" in options
    assert "--platform=manylinux_2_42_aarch64" not in options


def test_a_failed_program_is_summed_up_in_the_line_that_says_why() -> None:
    apt = "Reading package lists...\nE: Unable to locate package docker.io\nE: giving up\n"
    full = "Collecting numpy\nERROR: Could not install: [Errno 28] No space left on device\n"

    assert debian.gist(apt) == "Unable to locate package docker.io"
    assert debian.gist(full).startswith("the disk is full")
    assert debian.gist("one\n\n  two   words  \n") == "two words"
    assert debian.gist("") == ""


@pytest.mark.docker
def test_building_again_changes_nothing(client: docker.DockerClient, tabular: images.Image) -> None:
    before = {image.id for image in client.images.list(all=True)}
    said: list[str] = []

    images.build(client, tabular, lambda text, done: said.append(text))

    assert said == []
    assert {image.id for image in client.images.list(all=True)} == before


@pytest.mark.docker
def test_building_leaves_no_stages_behind(
    client: docker.DockerClient, tabular: images.Image
) -> None:
    left = client.images.list(filters={"dangling": True, "label": f"{images.LABEL}=build"})

    assert left == []


@pytest.mark.docker
def test_a_sealed_user_can_use_the_libraries(
    client: docker.DockerClient, tabular: images.Image
) -> None:
    program = """
import os, numpy as np, pandas, scipy, sklearn, matplotlib.pyplot, ipykernel, lightgbm, xgboost
X = np.random.default_rng(0).random((500, 4)); y = X[:, 0] > 0.5
score = lightgbm.LGBMClassifier(n_estimators=20, n_jobs=2, verbose=-1).fit(X, y).score(X, y)
assert score > 0.9, score
score = xgboost.XGBClassifier(n_estimators=20, n_jobs=2).fit(X, y).score(X, y)
assert score > 0.9, score
pools = {line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line}
assert len(pools) == 1, pools
print(os.getuid(), os.getcwd(), os.environ["OMP_WAIT_POLICY"])
print(pandas.Timestamp.now("Asia/Tokyo").tz)
"""

    said = client.containers.run(
        tabular.tag,
        ["python", "-c", program],
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        tmpfs={"/tmp": "", "/home/agent": "uid=10001,gid=10001"},
        labels={images.LABEL: "test"},
        remove=True,
    )

    assert said.decode().split() == ["10001", "/workspace", "passive", "Asia/Tokyo"]


@pytest.mark.docker
def test_nothing_in_an_image_lends_privileges(
    client: docker.DockerClient, tabular: images.Image
) -> None:
    said = client.containers.run(
        tabular.tag,
        ["find", "/", "-xdev", "-type", "f", "-perm", "/6000"],
        user="0",
        network_mode="none",
        labels={images.LABEL: "test"},
        remove=True,
    )

    assert said == b""


@pytest.mark.docker
def test_libraries_and_interpreter_come_compiled(
    client: docker.DockerClient, tabular: images.Image
) -> None:
    # What would have to be compiled again at every start, for nothing can be written.
    program = """
import importlib, os, sys
for name in ("numpy", "pandas", "sklearn", "ipykernel", "lightgbm", "xgboost", "asyncio"):
    importlib.import_module(name)
missing = [m.__name__ for m in list(sys.modules.values())
           if getattr(m, "__cached__", None) and not os.path.exists(m.__cached__)]
print(missing)
"""
    said = client.containers.run(
        tabular.tag,
        ["python", "-c", program],
        network_mode="none",
        labels={images.LABEL: "test"},
        remove=True,
    )

    assert said.decode().strip() == "[]"


def starting_from(tag: str, folder: Path, command: str) -> images.Image:
    """An image of one command, whose start is told as if it were a public image."""
    folder.mkdir()
    (folder / "requirements.lock").write_text("")
    (folder / "Dockerfile").write_text(f"ARG BASE=docker.io/{tag}\nFROM ${{BASE}}\nRUN {command}\n")
    return images.find(folder.name, folder.parent)


@pytest.mark.docker
def test_processes_that_build_the_same_image_wait_for_each_other(
    client: docker.DockerClient, tabular: images.Image, tmp_path: Path
) -> None:
    image = starting_from(tabular.tag, tmp_path / "tiny", f"echo {uuid.uuid4()} > /workspace/mark")
    program = """
import sys
from pathlib import Path
from kernel_env.sandbox.docker import engine, images
client, image = engine.connect(), images.find("tiny", Path(sys.argv[1]))
images.build(client, image, lambda text, done: print(text))
print(client.images.get(image.tag).id)
client.close()
"""

    builders = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [builder.communicate()[0].decode() for builder in builders]
    client.images.remove(image.tag)

    assert len({output.split()[-1] for output in outputs}) == 1
    assert sum("building: " in output for output in outputs) == 1


@pytest.mark.docker
def test_a_build_that_fails_says_why_and_leaves_nothing(
    client: docker.DockerClient, tabular: images.Image, tmp_path: Path
) -> None:
    image = starting_from(tabular.tag, tmp_path / "broken", "echo 'ERROR: the moon is full'; false")

    with pytest.raises(SandboxError, match=r"'broken' cannot be built: the moon is full$"):
        images.build(client, image, lambda text, done: None)

    assert not images.is_built(client, image)


@pytest.mark.docker
def test_a_start_that_is_too_old_is_refused(
    client: docker.DockerClient, tabular: images.Image, tmp_path: Path
) -> None:
    old = r"""printf '#!/bin/sh\necho "[3, 9, null, null]"\n' > /workspace/python3"""
    fake = starting_from(
        tabular.tag,
        tmp_path / "fake",
        f"{old} && chmod +x /workspace/python3\nENV PATH=/workspace:$PATH",
    )
    images.build(client, fake, lambda text, done: None)
    image = starting_from(fake.tag, tmp_path / "upper", "true")

    with pytest.raises(SandboxError, match=r"has Python 3\.9; the images need 3\.11 or newer"):
        images.build(client, image, lambda text, done: None)

    client.images.remove(fake.tag)
