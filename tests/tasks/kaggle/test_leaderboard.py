"""Check competitions that show only one leaderboard, or none."""

from pathlib import Path

import pytest

from kernel_env.errors import DownloadError
from kernel_env.tasks import spec
from kernel_env.tasks.kaggle import download_leaderboard
from kernel_env.tasks.prepare import obtain
from support.kaggle_server import KaggleServer

pytestmark = pytest.mark.kaggle


def test_a_missing_private_board_is_reported(server: KaggleServer, tmp_path: Path) -> None:
    server.private = None

    summary = download_leaderboard("titanic", tmp_path / "leaderboard.csv")

    assert summary == "3 teams, one board for both scores, Kaggle shows no other"


def test_without_a_leaderboard_the_task_folder_must_have_one(
    ships: Path, server: KaggleServer
) -> None:
    server.errors["GetLeaderboard"] = (404, "Leaderboard not found")

    with pytest.raises(DownloadError) as caught:
        obtain(spec.load(ships))
    (ships / "leaderboard.csv").write_text(
        "entry,kind,public_score,private_score,seed,runtime_s\na,human,1,1,,\n"
    )

    assert str(caught.value) == (
        "Kaggle shows no leaderboard of titanic; put a leaderboard.csv into the task's folder"
    )
    assert obtain(spec.load(ships)).leaderboard.public == (1.0,)
    assert server.downloads() == [""]
