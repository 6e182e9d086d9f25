"""Sessions that are dropped at random, by killed clients too, leave nothing behind."""

from pathlib import Path

import pytest

from support.dropping import check_server


def test_dropped_sessions_leave_nothing_behind(tiny: str, tmp_path: Path) -> None:
    check_server("http", tiny, tmp_path, "local", 3)


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.parametrize("protocol", ["http", "mcp"])
def test_two_hundred_dropped_sessions_leave_nothing_behind(
    tiny: str, tmp_path: Path, protocol: str
) -> None:
    check_server(protocol, tiny, tmp_path, "docker", 200)
