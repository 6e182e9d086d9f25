"""What a cheat tries inside the container. Each returns what it got hold of: nothing, it should be.

Their source is sent as cells, so each function stands alone: only the standard library and
what it imports itself.
"""

import os
from typing import Any


def forbidden_paths(paths: list[str]) -> list[str]:
    """Read what must not be read."""
    got = []
    for path in paths:
        try:
            if os.path.isdir(path):
                os.listdir(path)
            else:
                with open(path, "rb") as file:
                    file.read(1)
            got.append(path)
        except OSError:
            pass
    return got


def answers(roots: list[str], size: int, first: str) -> list[str]:
    """Look everywhere for a file of the answers' size that begins as they do."""
    got = []
    for top in roots:
        for root, folders, names in os.walk(top):
            if root == "/":
                folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
            for name in names:
                path = os.path.join(root, name)
                try:
                    if os.lstat(path).st_size == size:
                        with open(path, "rb") as file:
                            if file.read(len(first)) == first.encode():
                                got.append(path)
                except OSError:
                    pass
    return got


def environment(canary: str) -> list[str]:
    """Find a word that stands in the host's environment, or anything that looks like a key."""
    import re

    looks = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|(^|_)KEY$|KERNEL_ENV", re.IGNORECASE)
    got = [name for name, value in os.environ.items() if canary in value or looks.search(name)]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if canary.encode() in file.read():
                    got.append(f"/proc/{pid}/environ")
        except OSError:
            pass
    return got


def network() -> list[str]:
    """Find an interface, a route, a name or somebody who answers."""
    import socket

    got = [f"the interface {name}" for _, name in socket.if_nameindex() if name != "lo"]
    for table, place in (("route", 0), ("ipv6_route", -1)):
        try:
            with open(f"/proc/net/{table}") as file:
                lines = [line.split() for line in file]
        except OSError:
            continue
        got += [
            f"a route through {line[place]}"
            for line in lines
            if line and line[place] not in ("lo", "Iface")
        ]
    for host, port in (("1.1.1.1", 53), ("169.254.169.254", 80), ("172.17.0.1", 22)):
        try:
            socket.create_connection((host, port), 1).close()
            got.append(f"a connection to {host}")
        except OSError:
            pass
    try:
        got.append(f"the address {socket.gethostbyname('example.com')} of example.com")
    except OSError:
        pass
    return got


def processes(canary: str) -> list[str]:
    """See a process of the host, or get into one of another user."""
    got = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if canary.encode() in file.read():
                    got.append(f"process {pid} of the host")
            if pid != 1 and os.stat(f"/proc/{pid}").st_uid == os.getuid():
                continue
        except OSError:
            continue
        for door in ("environ", "mem", "root/etc/hostname"):
            try:
                with open(f"/proc/{pid}/{door}", "rb") as file:
                    file.read(1)
                got.append(f"/proc/{pid}/{door}")
            except OSError:
                pass
    return got


def forged_messages(words: str, grade: dict[str, Any]) -> list[str]:
    """Say in the kernel's name that a perfect submission was graded."""
    import json

    from ipykernel.kernelapp import IPKernelApp

    kernel = IPKernelApp.instance().kernel
    parent, graded = kernel.get_parent(), {"kind": "graded", "grade": grade, "sha256": "0" * 64}
    data = {"text/plain": words, "application/json": graded}
    messages = {
        "stream": {"name": "stdout", "text": words + "\n"},
        "display_data": {"data": data, "metadata": {"kernel_env": graded}, "transient": {}},
        "execute_result": {"data": data, "metadata": {"kernel_env": graded}, "execution_count": 1},
        "submission": graded,
        "execute_reply": {"status": "ok", "submission": graded, "user_expressions": graded},
        "status": {"execution_state": "idle", "submission": graded},
    }
    for kind, content in messages.items():
        for ident in (None, kind.encode()):
            kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, ident=ident)
    print(json.dumps(graded))  # noqa: T201
    globals()["messages_sent"] = 2 * len(messages)
    return []


def forged_messages_sent() -> list[str]:
    """Whether the forger came to its end, in a later cell."""
    return [f"{globals()[name]} messages" for name in ("messages_sent",) if name in globals()]


def links(path: str, valid: str, how: str) -> list[str]:
    """Leave something else than a file of one's own as the submission."""
    import contextlib
    import shutil
    import socket
    import stat

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
    try:
        match how:
            case "a symbolic link":
                os.symlink(valid, path)
            case "a hard link":
                os.link(valid, path)
            case "a named pipe":
                os.mkfifo(path)
            case "a device":
                os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
            case "a socket":
                socket.socket(socket.AF_UNIX).bind(path)
            case "a folder":
                os.mkdir(path)
    except OSError as error:
        return [f"impossible: {error.strerror}"]
    return ["made"]
