"""Download the leaderboards of Kaggle competitions."""

import csv
import math
import os
from pathlib import Path

from kernel_env.errors import DownloadError
from kernel_env.tasks.kaggle.client import ClientProcess, disk_advice, raise_failure
from kernel_env.tasks.kaggle.competition import Progress, competition_folder, no_progress


def leaderboard_file(competition: str) -> Path:
    """Return where a competition's leaderboards are kept in the cache."""
    return competition_folder(f"{competition}.leaderboard.csv")


def download_leaderboard(competition: str, path: Path, progress: Progress = no_progress) -> str:
    """Write a competition's leaderboards as a task's `leaderboard.csv`.

    Returns:
        The number of teams and of boards, as text for people.

    Raises:
        DownloadError: the download failed, or the competition shows no leaderboard.
    """
    progress(f"{competition}: downloading the leaderboard", None)
    public: dict[int, float] = {}
    private: dict[int, float] = {}
    with ClientProcess({"what": "boards", "competition": competition}) as client:
        for message in client.messages():
            match message["kind"]:
                case "boards":
                    public, private = scores(message["public"]), scores(message["private"])
                case "failed" if message.get("status") not in (403, 404):
                    raise_failure(competition, message, kept="")
    teams = [team for team in public if team in private]
    if not teams:
        raise DownloadError(
            f"Kaggle shows no leaderboard of {competition}; put a leaderboard.csv into the task's"
            " folder"
        )
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["entry", "kind", "public_score", "private_score", "seed", "runtime_s"])
            rows.writerows(
                [f"team {team}", "human", public[team], private[team], "", ""] for team in teams
            )
        partial.rename(path)
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written: {error.strerror or error}; {disk_advice(error.errno)}"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    boards = (
        "one board for both scores, Kaggle shows no other" if public == private else "both boards"
    )
    return f"{len(teams):,} teams, {boards}"


def scores(rows: list[tuple[int, str]]) -> dict[int, float]:
    """Parse each team's score; teams without a finite score are left out."""
    found = {}
    for team, text in rows:
        try:
            score = float(text)
        except ValueError:
            continue
        if math.isfinite(score):
            found[team] = score
    return found
