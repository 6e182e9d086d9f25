"""Check the credentials that a download accepts, and the error message for each rejection."""

import json
import os
from pathlib import Path

import pytest

from kernel_env.errors import UsageError
from kernel_env.tasks.kaggle import competition
from support.cli import run_cli
from support.competition import FILES, download_error
from support.files import read_files
from support.kaggle_server import KEY, TOKEN, USERNAME, KaggleServer

pytestmark = pytest.mark.kaggle

NEW_TOKEN = (
    "create a token at https://www.kaggle.com/settings/api and put it into KAGGLE_API_TOKEN"
    " or ~/.kaggle/access_token"
)


@pytest.mark.parametrize("kept", ["token file", "access_token", "kaggle.json", "variables"])
def test_every_kind_of_credentials_is_accepted(
    server: KaggleServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    config = tmp_path / "home" / ".kaggle"
    config.mkdir()
    match kept:
        case "token file":
            (tmp_path / "token").write_text(TOKEN + "\n")
            monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
        case "access_token":
            (config / "access_token").write_text(TOKEN)
        case "kaggle.json":
            (config / "kaggle.json").write_text(json.dumps({"username": USERNAME, "key": KEY}))
        case "variables":
            monkeypatch.setenv("KAGGLE_USERNAME", USERNAME)
            monkeypatch.setenv("KAGGLE_KEY", KEY)

    raw = competition.download("titanic", folder)

    assert read_files(raw) == FILES


def test_missing_credentials_are_reported(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")

    assert download_error(folder) == f"no credentials for Kaggle were found; {NEW_TOKEN}"


def test_an_expired_token_is_named_by_its_source(server: KaggleServer, folder: Path) -> None:
    server.token_is_active = False

    assert download_error(folder) == (
        f"Kaggle does not accept KAGGLE_API_TOKEN (expired or revoked?); {NEW_TOKEN}"
    )


def test_a_revoked_key_is_named_by_its_source(
    server: KaggleServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    path = tmp_path / "home" / ".kaggle" / "kaggle.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"username": USERNAME, "key": "an-old-key"}))

    assert download_error(folder) == (
        f'Kaggle does not accept {path} (401: "Unauthenticated"); {NEW_TOKEN}'
    )


@pytest.mark.parametrize(
    ("status", "reply", "message"),
    [
        (
            403,
            f"You must accept this competition's rules, {TOKEN}",
            "Kaggle denies access to titanic"
            ' (403: "You must accept this competition\'s rules, …");'
            " accept the competition's rules at https://www.kaggle.com/competitions/titanic/rules"
            " and run it again",
        ),
        (429, "", "Kaggle limits the rate of requests (429); run it again later"),
        (500, "", "Kaggle responded with status 500; run it again later"),
    ],
)
def test_an_error_status_has_a_message_of_one_line(
    server: KaggleServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    reply: str,
    message: str,
) -> None:
    monkeypatch.setattr(competition, "PATIENCE", 1)
    server.errors["DownloadDataFiles"] = (status, reply)

    assert download_error(folder) == message


def test_an_unknown_competition_is_reported(server: KaggleServer, folder: Path) -> None:
    assert download_error(folder, "titanicc") == (
        "Kaggle has no competition 'titanicc' (404: \"Competition not found\"); its name"
        " is the last part of its page's address, https://www.kaggle.com/competitions/NAME"
    )


def test_the_command_prints_the_error_and_exits_with_1(ships: Path, server: KaggleServer) -> None:
    server.errors["DownloadDataFiles"] = (403, "")

    done = run_cli("tasks", "prepare", ships, "--json")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: Kaggle denies access to titanic (403); accept the competition's rules at"
        " https://www.kaggle.com/competitions/titanic/rules and run it again\n"
    )


@pytest.mark.parametrize("name", ["", "..", "../titanic", "a/b", "ti tanic", "-h"])
def test_an_invalid_competition_name_is_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a Kaggle competition"):
        competition.download(name, tmp_path / "x")


def test_a_missing_client_is_reported_with_the_extra_to_install(
    server: KaggleServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "packages" / "kaggle.py"
    module.parent.mkdir()
    module.write_text("raise ModuleNotFoundError(name='kaggle')")
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{module.parent}{os.pathsep}{path}")

    assert download_error(folder) == (
        "Kaggle's client is not installed (no module named 'kaggle');"
        " run: pip install 'kernel-env[kaggle]'"
    )


def test_a_missing_network_is_reported(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert download_error(folder) == (
        "the connection to Kaggle failed (ProxyError); check the network and the proxy"
        " settings, and run it again"
    )
