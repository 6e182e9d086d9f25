"""An agent learns what its code runs on: libraries with versions, cores, memory, GPUs."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from kernel_env.episode import Episode, open_episode
from kernel_env.episode.actions import RequestInfo
from kernel_env.episode.step import InfoShown
from kernel_env.sandbox import libraries
from support.episodes import execute_text


async def metadata_of(episode: Episode) -> dict[str, object]:
    """Return the facts on the machine that `request_info` shows."""
    step = await episode.act(RequestInfo(info_type="metadata"))
    assert isinstance(step.outcome, InfoShown)
    found: dict[str, object] = json.loads(step.outcome.text)["machine"]
    return found


async def test_the_first_observation_describes_the_machine(episode: Episode) -> None:
    text = episode.observation.text
    inside = await execute_text(
        episode,
        "import platform, numpy, sklearn, matplotlib\n"
        "print(platform.python_version(), numpy.__version__, sklearn.__version__,"
        " matplotlib.__version__)",
    )

    python, *versions = inside.split()
    assert f"\nPython {python}; numpy {versions[0]}, pandas " in text
    assert f", scikit-learn {versions[1]}, " in text
    assert f", matplotlib {versions[2]}" in text
    assert re.search(r"^Machine: \d+ cores?, [\d.]+ GiB of memory.*, no GPU\.$", text, re.MULTILINE)
    assert "Train in a subprocess" not in text


async def test_metadata_has_every_library(episode: Episode) -> None:
    found = await metadata_of(episode)

    assert found["gpu"] == "no GPU"
    names = [item.split()[0] for item in str(found["libraries"]).split(", ")]
    assert {"ipykernel", "numpy", "pandas", "scikit-learn", "tornado"} <= set(names)
    assert names == sorted(names, key=str.lower)


@pytest.mark.docker
async def test_limits_of_a_container_are_those_of_the_task(tiny: str, tmp_path: Path) -> None:
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as episode:
        text = episode.observation.text
        found = await metadata_of(episode)

    line = "Machine: 1 core, 1 GiB of memory, 0.25 GiB for files, no GPU."
    assert line in text.splitlines()
    assert (found["cpus"], found["memory_gb"]) == (1, 1)


async def test_the_local_sandbox_has_the_libraries_of_this_process(
    tiny: str, tmp_path: Path
) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        found = await metadata_of(episode)

    assert f"ipykernel {version('ipykernel')}" in str(found["libraries"]).split(", ")


async def test_a_fork_describes_the_same_machine(tiny: str, tmp_path: Path) -> None:
    async with open_episode(tiny, sandbox="local", out=tmp_path) as episode:
        (child,) = await episode.fork()
        async with child:
            assert child.observation.text == episode.observation.text


@pytest.mark.docker
async def test_the_libraries_of_an_image_are_listed_once(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(libraries, "_known", {})
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as first:
        expected = first.machine_text
    (stored,) = (tmp_path / "cache" / "libraries").iterdir()
    before = json.loads(stored.read_text())
    stored.write_text(json.dumps(before | {"python": "3.0"}))

    monkeypatch.setattr(libraries, "_known", {})  # as in a new process
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as second:
        text = second.machine_text
    stored.write_text('{"python": "3.')  # another process is writing it
    monkeypatch.setattr(libraries, "_known", {})
    async with open_episode(tiny, sandbox="docker", out=tmp_path) as third:
        again = third.machine_text

    assert text == expected.replace(f"Python {before['python']}", "Python 3.0")
    assert again == expected
    assert json.loads(stored.read_text()) == before
