"""Sessions that are dropped at random, by killed clients too, leave nothing behind."""

import time
from pathlib import Path

import pytest

from support import dropping
from support.dropping import drop_sessions, unended, usage_of
from support.serving import serving

CLIENTS = {"http": dropping.HTTP_CLIENT, "mcp": dropping.MCP_CLIENT}


def check(protocol: str, tiny: str, runs: Path, sandbox: str, number: int) -> None:
    """Drop sessions of a server, and require that it has then what it had after the first one."""
    options = (protocol, "--tasks", tiny, "--sandbox", sandbox, "--idle", 1.5, "--sessions", 6)
    with serving(*options, runs=runs) as (process, address):
        drop_sessions(CLIENTS[protocol], address, number=1, seed=1)
        before = settled(process, runs)
        drop_sessions(CLIENTS[protocol], address, number=number, seed=2)
        after = settled(process, runs)

    assert unended(runs) == []
    assert after["containers"] == 0
    assert after["processes"] <= before["processes"]
    assert after["descriptors"] <= before["descriptors"] + 2, "some connections end a little later"
    assert len(list(runs.rglob("record.json"))) >= number * 0.6


def settled(process: object, runs: Path) -> dict[str, int]:
    """Wait until every episode has ended, and what they used is the same for a while."""
    seen: list[dict[str, int]] = []
    for _ in range(300):
        time.sleep(0.2)
        seen = [*seen, usage_of(process)][-3:] if not unended(runs) else []
        if len(seen) == 3 and seen[0] == seen[1] == seen[2] and not seen[0]["containers"]:
            break
    return usage_of(process)


def test_dropped_sessions_leave_nothing_behind(tiny: str, tmp_path: Path) -> None:
    check("http", tiny, tmp_path, "local", 3)


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.parametrize("protocol", ["http", "mcp"])
def test_two_hundred_dropped_sessions_leave_nothing_behind(
    tiny: str, tmp_path: Path, protocol: str
) -> None:
    check(protocol, tiny, tmp_path, "docker", 200)
