"""Check that errors of the machine and wrong names are one line and leave no run folder."""

from pathlib import Path

import pytest

from support.cli import error_line, run_cli

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
BASELINE = ["run", "TINY", "--agent", "baseline"]


@pytest.mark.parametrize(
    ("argv", "env", "message"),
    [
        (
            [*BASELINE, "--sandbox", "docker"],
            NO_ENGINE,
            "no Docker engine answers at unix:///nowhere/docker.sock",
        ),
        (
            ["run", "TINY", "--agent", "openai", "--model", "m"],
            {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""},
            "OPENAI_API_KEY",
        ),
        (
            ["run", "TINY", "--agent", "scripted", "--script", "/nowhere.json"],
            {},
            "/nowhere.json cannot be read",
        ),
        ([*BASELINE, "--out", "/proc/nope"], {}, "cannot be created"),
        (BASELINE, {"KERNEL_ENV_CACHE": "/proc/nope"}, "cannot be written"),
        (["tasks", "show", "nope"], {}, "no task named 'nope'"),
        (["tasks", "prepare", "nope"], {}, "no task named 'nope'"),
        (["images", "list"], NO_ENGINE, "no Docker engine answers"),
        (["export", "/nowhere"], {}, "/nowhere cannot be read"),
        (["report", "/nowhere"], {}, "/nowhere has no record.json below it"),
        (["report", "/nowhere", "--format", "nope"], {}, "no format named 'nope'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_and_leaves_no_run_folder(
    tiny: str, tmp_path: Path, argv: list[str], env: dict[str, str], message: str
) -> None:
    argv = [tiny if word == "TINY" else word for word in argv]
    if argv[0] == "run" and "--out" not in argv:
        argv += ["--out", str(tmp_path / "runs")]
    if argv[0] == "run" and "--sandbox" not in argv:
        argv += ["--sandbox", "local"]

    done = run_cli(*argv, **env)

    assert message in error_line(done)
    assert not (tmp_path / "runs").exists()


@pytest.mark.docker
def test_an_unknown_image_is_an_error() -> None:
    done = run_cli("images", "build", "nope")

    assert "no image named 'nope'; known: base, tabular" in error_line(done)
