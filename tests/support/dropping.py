"""Open sessions of a server and drop them at random, and count what is left of them."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kernel_env.errors import SandboxError
from support.episodes import containers_of
from support.serving import children_of, serving

WAYS = ("close", "leave", "die", "die in a call", "die while it opens")
"""How a client ends: it closes its episode or not, it is killed."""
AT_ONCE = 4
"""How many clients there are at the same time."""

HTTP_CLIENT = """
import http.client, json, sys, time
host, port = sys.argv[1].partition("://")[2].split(":")
def ask(method, path, body=None):
    connection = http.client.HTTPConnection(host, int(port), timeout=120)
    connection.request(method, path, body and json.dumps(body))
    return json.loads(connection.getresponse().read())
way = sys.argv[2]
print("opening", flush=True)
while "episode" not in (opened := ask("POST", "/episodes", {"task": "tiny"})):
    time.sleep(0.3)
handle = opened["episode"]
print("opened", flush=True)
if way == "die in a call":
    ask("POST", f"/episodes/{handle}/call", {"name": "execute_code", "arguments": {"code": "while True: pass"}})
if way == "die":
    ask("POST", f"/episodes/{handle}/fork", {"n": 1})
    time.sleep(60)
if way == "close":
    ask("DELETE", f"/episodes/{handle}")
"""
MCP_CLIENT = """
import asyncio, sys, time
from mcp import Client
async def main():
    way = sys.argv[2]
    async with Client(sys.argv[1] + "/mcp") as client:
        print("opening", flush=True)
        while (opened := await client.call_tool("open_episode", {"task": "tiny"})).is_error:
            await asyncio.sleep(0.3)
        handle = opened.meta["kernel-env/turn"]["episodes"][0]["episode"]
        print("opened", flush=True)
        if way == "die in a call":
            await client.call_tool("execute_code", {"episode": handle, "code": "while True: pass"})
        if way == "die":
            await client.call_tool("fork_episode", {"episode": handle})
            time.sleep(60)
        if way == "close":
            await client.call_tool("close_episode", {"episode": handle})
asyncio.run(main())
"""
OPENENV_CLIENT = """
import json, sys, time
from websockets.sync.client import connect
way = sys.argv[2]
def ask(kind, **data):
    connection.send(json.dumps({"type": kind, "data": data}))
    return json.loads(connection.recv())
while True:
    connection = connect(sys.argv[1].replace("http", "ws") + "/ws", open_timeout=120)
    print("opening", flush=True)
    if ask("reset")["type"] == "observation":
        break
    connection.close()  # no room
    time.sleep(0.3)
print("opened", flush=True)
if way == "die in a call":
    ask("step", name="execute_code", arguments={"code": "while True: pass"})
if way == "die":
    time.sleep(60)
if way == "close":
    ask("step", name="finish", arguments={})
if way != "leave":
    connection.close()
"""
CLIENTS = {"http": HTTP_CLIENT, "mcp": MCP_CLIENT, "openenv": OPENENV_CLIENT}


def check_server(protocol: str, task: str, runs: Path, sandbox: str, number: int) -> None:
    """Drop sessions of a server, and require that it has then what it had after the first one."""
    options = (protocol, "--tasks", task, "--sandbox", sandbox, "--idle", 1.5, "--sessions", 6)
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


def settled(process: subprocess.Popen[str], runs: Path) -> dict[str, int]:
    """Wait until every episode has ended, and what they used is the same for a while."""
    seen: list[dict[str, int]] = []
    for _ in range(300):
        time.sleep(0.2)
        seen = [*seen, usage_of(process)][-3:] if not unended(runs) else []
        if len(seen) == 3 and seen[0] == seen[1] == seen[2] and not seen[0]["containers"]:
            break
    return usage_of(process)


def drop_sessions(program: str, address: str, *, number: int, seed: int) -> None:
    """Run so many clients, a few at once; each ends in one of the ways."""
    draw = random.Random(seed)
    running: list[subprocess.Popen[str]] = []
    for _ in range(number):
        while len(running) >= AT_ONCE:
            running = [each for each in running if not has_ended(each)]
            time.sleep(0.05)
        running.append(start_client(program, address, draw.choice(WAYS), draw.uniform(0, 1)))
    while running := [each for each in running if not has_ended(each)]:
        time.sleep(0.05)


def start_client(program: str, address: str, way: str, pause_s: float) -> subprocess.Popen[str]:
    """Start a client; kill it after its pause, if that is its way."""
    client = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, address, way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    if way.startswith("die"):
        wanted = "opening\n" if way == "die while it opens" else "opened\n"
        while (line := client.stdout.readline()) != wanted:
            assert line, client.communicate()[1]
        time.sleep(pause_s)
        client.kill()
    return client


def has_ended(client: subprocess.Popen[str]) -> bool:
    """Return whether a client has ended; one that failed is an error."""
    if client.poll() is None:
        return False
    errors = client.communicate()[1]
    assert client.returncode in (0, -9), errors
    return True


def usage_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """Count what a server has: processes, descriptors, containers."""
    level, processes = {process.pid}, 0
    while level := {int(child) for parent in level for child in children_of(parent)}:
        processes += len(level)
    try:
        containers = len(containers_of(process))
    except SandboxError:
        containers = 0
    descriptors = len(os.listdir(f"/proc/{process.pid}/fd"))
    return {"processes": processes, "descriptors": descriptors, "containers": containers}


def unended(runs: Path) -> Sequence[Path]:
    """Return the folders of episodes without a result."""
    return [
        path.parent
        for path in runs.rglob("journal.jsonl")
        if not path.with_name("record.json").exists()
    ]
