"""Tags, ancestors and builds of images."""

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
    """A folder with two images, one of which starts from the other."""
    for name, start in {
        "lower": "python:3.11-slim-bookworm",
        "upper": "kernel-env/lower",
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


def test_tag_is_stable_when_nothing_changes(folder: Path, tmp_path: Path) -> None:
    before = images.find("upper", folder).tag

    (folder / "upper" / "requirements.in").write_text("# a note\n")
    (folder / "upper" / "Dockerfile").touch()
    (folder / "upper" / "Dockerfile").chmod(0o600)

    assert images.find("upper", folder).tag == before


def test_an_environment_variable_names_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_ENV_IMAGES", str(folder))

    assert set(images.known()) == {"lower", "upper"}


@pytest.mark.parametrize("file", ["Dockerfile", "requirements.lock", "extra/data.txt"])
@pytest.mark.parametrize("name", ["lower", "upper"])
def test_tag_changes_with_each_file_of_image_and_parent(folder: Path, name: str, file: str) -> None:
    before = images.find("upper", folder).tag

    path = folder / name / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as handle:
        handle.write("# changed\n")

    assert images.find("upper", folder).tag != before


def test_child_does_not_change_tag_of_parent(folder: Path) -> None:
    before = images.find("lower", folder).tag

    (folder / "upper" / "requirements.lock").write_text("numpy==2.1\n")

    assert images.find("lower", folder).tag == before


def test_build_order_lists_ancestors_first(folder: Path) -> None:
    lower, upper = images.find("upper", folder).build_order

    assert (lower.name, upper.name) == ("lower", "upper")
    assert lower.base == "python:3.11-slim-bookworm"
    assert upper.base == lower.tag


def test_an_image_with_requirements_for_cuda_has_two_tags(folder: Path) -> None:
    (folder / "lower" / "requirements-cuda.lock").write_text("numpy==2.1\n")

    plain, for_gpus = images.find("upper", folder), images.find("upper", folder, cuda=True)

    assert (plain.cuda, for_gpus.cuda) == (False, True)
    assert plain.tag != for_gpus.tag
    assert for_gpus.parent is not None
    assert for_gpus.parent.requirements.name == "requirements-cuda.lock"
    assert images.build_command(for_gpus) == "kernel-env images build upper --cuda"


def test_requirements_for_cuda_do_not_change_the_other_tag(folder: Path) -> None:
    before = images.find("lower", folder)
    assert images.find("lower", folder, cuda=True) == before

    (folder / "lower" / "requirements-cuda.lock").write_text("numpy==2.1\n")

    assert images.find("lower", folder).tag == before.tag


def test_missing_lock_file_is_rejected(folder: Path) -> None:
    (folder / "upper" / "requirements.lock").unlink()

    with pytest.raises(UsageError, match=r"requirements\.lock is missing"):
        images.find("upper", folder)


def test_unknown_image_is_answered_with_known_names() -> None:
    with pytest.raises(UnknownName, match=r"no image named 'tabula'; .*known: base, .*tabular"):
        images.find("tabula")


def test_unknown_base_image_is_rejected(folder: Path) -> None:
    (folder / "upper" / "Dockerfile").write_text("ARG BASE=kernel-env/cellar\n")

    with pytest.raises(UnknownName, match="no image named 'cellar'"):
        images.find("upper", folder)


def test_image_based_on_itself_is_rejected(folder: Path) -> None:
    (folder / "lower" / "Dockerfile").write_text("ARG BASE=kernel-env/upper\n")

    with pytest.raises(UsageError, match="its own ancestor: upper ← lower ← upper"):
        images.find("upper", folder)


def test_dockerfile_without_base_argument_is_rejected(folder: Path) -> None:
    (folder / "upper" / "Dockerfile").write_text("FROM scratch\n")

    with pytest.raises(UsageError, match="no line `ARG BASE"):
        images.find("upper", folder)


def test_requirements_are_locked_with_hashes() -> None:
    for image in [images.find(name, cuda=cuda) for name in images.known() for cuda in (0, 1)]:
        lock = image.requirements.read_text()
        pinned = [line for line in lock.splitlines() if line[:1].isalnum()]

        assert pinned
        assert all("==" in line and line.endswith("\\") for line in pinned), image.name
        assert "://" not in lock


def test_wheels_are_selected_for_the_interpreter_of_the_image() -> None:
    options = images.Python(version=(3, 13), machine="aarch64", glibc=(2, 41)).pip_options()

    assert options[:6] == ["--python-version", "3.13", "--implementation", "cp", "--abi", "cp313"]
    assert "--platform=manylinux_2_28_aarch64" in options
    assert "--platform=manylinux_2_42_aarch64" not in options


def test_error_line_states_the_reason() -> None:
    apt = "Reading package lists...\nE: Unable to locate package docker.io\nE: giving up\n"
    full = "Collecting numpy\nERROR: Could not install: [Errno 28] No space left on device\n"

    assert debian.error_line(apt) == "Unable to locate package docker.io"
    assert debian.error_line(full).startswith("the disk is full")
    assert debian.error_line("one\n\n  two   words  \n") == "two words"
    assert (
        debian.error_line("Traceback:\nOSError: no libgomp.so.1\nbye\n")
        == "OSError: no libgomp.so.1"
    )
    assert debian.error_line("") == ""
    raised = (
        '  File "/workspace/bad.py", line 2\n    def f(:\nSyntaxError: invalid syntax\n\nbad.py\n'
    )
    assert debian.error_line(raised) == "SyntaxError: invalid syntax (/workspace/bad.py, line 2)"


@pytest.mark.docker
def test_building_again_changes_nothing(client: docker.DockerClient, tabular: images.Image) -> None:
    before = {image.id for image in client.images.list(all=True)}
    reports: list[str] = []

    images.build(client, tabular, lambda text, done: reports.append(text))

    assert reports == []
    assert {image.id for image in client.images.list(all=True)} == before


@pytest.mark.docker
def test_building_leaves_no_intermediate_images(
    client: docker.DockerClient, tabular: images.Image
) -> None:
    left = client.images.list(filters={"dangling": True, "label": f"{images.LABEL}=build"})

    assert left == []


@pytest.mark.docker
def test_libraries_work_for_the_unprivileged_user(
    client: docker.DockerClient, tabular: images.Image
) -> None:
    program = """
import os, io, numpy as np, pandas, scipy, sklearn, matplotlib.pyplot, ipykernel, lightgbm, xgboost
import polars, seaborn, statsmodels.api, tqdm.auto
X = np.random.default_rng(0).random((500, 4)); y = X[:, 0] > 0.5
score = lightgbm.LGBMClassifier(n_estimators=20, n_jobs=2, verbose=-1).fit(X, y).score(X, y)
assert score > 0.9, score
score = xgboost.XGBClassifier(n_estimators=20, n_jobs=2).fit(X, y).score(X, y)
assert score > 0.9, score
pools = {line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line}
assert len(pools) == 1, pools
table = pandas.DataFrame(X, columns=list("abcd"))
assert table.style.to_html()
for format in ("parquet", "feather"):
    getattr(table, f"to_{format}")(f"/tmp/table.{format}")
    assert getattr(pandas, f"read_{format}")(f"/tmp/table.{format}").equals(table)
assert polars.read_parquet("/tmp/table.parquet").group_by("a").len().height == 500
assert polars.from_pandas(table).to_pandas().equals(table)
assert statsmodels.api.OLS(y.astype(float), X).fit().params.shape == (4,)
assert seaborn.pairplot(table) is not None
table.to_csv("/tmp/table.csv"); assert len(pandas.read_csv("/tmp/table.csv", engine="pyarrow")) == 500
print(os.getuid(), os.getcwd(), os.environ["OMP_WAIT_POLICY"])
print(pandas.Timestamp.now("Asia/Tokyo").tz)
"""

    output = client.containers.run(
        tabular.tag,
        ["python", "-c", program],
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        tmpfs={"/tmp": "", "/home/agent": "uid=10001,gid=10001"},
        labels={images.LABEL: "test"},
        remove=True,
    )

    assert output.decode().split() == ["10001", "/workspace", "passive", "Asia/Tokyo"]


@pytest.mark.docker
def test_image_has_no_setuid_files(client: docker.DockerClient, tabular: images.Image) -> None:
    output = client.containers.run(
        tabular.tag,
        ["find", "/", "-xdev", "-type", "f", "-perm", "/6000"],
        user="0",
        network_mode="none",
        labels={images.LABEL: "test"},
        remove=True,
    )

    assert output == b""


@pytest.mark.docker
def test_libraries_and_interpreter_are_compiled(
    client: docker.DockerClient, tabular: images.Image
) -> None:
    # Otherwise they are compiled again at every start: the file system is read-only.
    program = """
import importlib, os, sys
for name in ("numpy", "pandas", "sklearn", "ipykernel", "lightgbm", "xgboost", "asyncio"):
    importlib.import_module(name)
missing = [m.__name__ for m in list(sys.modules.values())
           if getattr(m, "__cached__", None) and not os.path.exists(m.__cached__)]
print(missing)
"""
    output = client.containers.run(
        tabular.tag,
        ["python", "-c", program],
        network_mode="none",
        labels={images.LABEL: "test"},
        remove=True,
    )

    assert output.decode().strip() == "[]"


def image_based_on(tag: str, folder: Path, command: str) -> images.Image:
    """Return an image that runs one command on a local image named like a public one."""
    folder.mkdir()
    (folder / "requirements.lock").write_text("")
    (folder / "Dockerfile").write_text(
        f"ARG BASE=docker.io/{tag}\nFROM ${{BASE}}\nLABEL {images.LABEL}=build\nRUN {command}\n"
    )
    return images.find(folder.name, folder.parent)


@pytest.mark.docker
def test_concurrent_builds_of_one_image_wait_for_each_other(
    client: docker.DockerClient, tabular: images.Image, tmp_path: Path
) -> None:
    image = image_based_on(tabular.tag, tmp_path / "tiny", f"echo {uuid.uuid4()} > /workspace/mark")
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


BAD_MODULE = "printf 'x = 1\\ndef f(:\\n' > /workspace/bad.py"


@pytest.mark.docker
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo 'ERROR: the moon is full' >&2; echo tidying up; exit 3", "the moon is full"),
        ("exit 3", "the command ended with exit code 3"),
        pytest.param(
            "echo 'ERROR: the moon is full'; false", "the moon is full", marks=pytest.mark.slow
        ),
        pytest.param(
            "cp /nowhere /workspace",
            "cp: cannot stat '/nowhere': No such file or directory",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            f"{BAD_MODULE} && python -m compileall -q /workspace; ls /workspace; false",
            "SyntaxError: invalid syntax (/workspace/bad.py, line 2)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "python -c 'import nothing_like_this'",
            "ModuleNotFoundError: No module named 'nothing_like_this' (<string>, line 1)",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["stderr", "silent", "stdout", "last line", "compileall", "traceback"],
)
def test_failed_build_states_the_reason_and_leaves_no_image(
    client: docker.DockerClient, tabular: images.Image, tmp_path: Path, command: str, reason: str
) -> None:
    image = image_based_on(
        tabular.tag, tmp_path / "broken", f"echo 'ERROR: harmless'\nRUN {command}"
    )

    with pytest.raises(SandboxError) as raised:
        images.build(client, image, lambda text, done: None)

    assert str(raised.value) == f"the image 'broken' cannot be built: step 5 of 6: {reason}"
    assert not images.is_built(client, image)


@pytest.mark.docker
def test_base_image_with_old_python_is_rejected(
    client: docker.DockerClient, tabular: images.Image, tmp_path: Path
) -> None:
    old = r"""printf '#!/bin/sh\necho "[3, 9, null, null]"\n' > /workspace/python3"""
    fake = image_based_on(
        tabular.tag,
        tmp_path / "fake",
        f"{old} && chmod +x /workspace/python3\nENV PATH=/workspace:$PATH",
    )
    images.build(client, fake, lambda text, done: None)
    image = image_based_on(fake.tag, tmp_path / "upper", "true")

    with pytest.raises(SandboxError, match=r"has Python 3\.9; the images need 3\.11 or newer"):
        images.build(client, image, lambda text, done: None)

    client.images.remove(fake.tag)
