"""Cells that send a kernel's client what costs it more than the kernel.

The caps on output are in the kernel, where the agent's code can pass them by: these cells write to
the kernel's own sockets.
"""

FIND_CONNECTION = """
import os, socket
def connection(number):
    for name in os.listdir("/proc/self/fd"):
        try:
            s = socket.socket(fileno=os.dup(int(name)))
            end = s.family == socket.AF_UNIX and s.getsockname().endswith(f"/s-{number}")
            if end and not s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return s
        except OSError:
            pass
"""
"""Defines a function that returns the connection to the kernel's socket of that number."""

PRELUDE = (
    FIND_CONNECTION
    + """
import json, os, socket, threading, time
k = get_ipython().kernel
parent, raw = k.get_parent(), k.iopub_socket.io_thread.socket
def message(kind, content, other=None):
    m = k.session.msg(kind, parent=parent if other is None else other)
    parts = [json.dumps(p, default=str).encode() for p in (m["header"], m["parent_header"], {})]
    parts.append(content if isinstance(content, bytes) else json.dumps(content).encode())
    return [b"<IDS|MSG>", k.session.sign(parts), *parts]
def send(kind, content, count=1, other=None):
    for _ in range(count):
        raw.send_multipart(message(kind, content, other))
def shell(kind, content, other=None):
    k.shell_stream.socket.send_multipart([*k._parent_ident["shell"], *message(kind, content, other)])
M = 1 << 20
"""
)
"""Defines `send` and `shell`, which send a message past the caps, and `connection`, which returns the
connection to the client of one of the sockets: 1 is shell, 2 iopub, 4 control."""

IOPUB_FLOODS = {
    "backspaces in one stream": """
send("stream", {"name": "stdout", "text": "x" * M + "\\b" * (13 * M)}, 2)
""",
    "backspaces between characters": """
send("stream", {"name": "stdout", "text": "a\\b" * 60_000}, 50)
""",
    "carriage returns in a long line": """
send("stream", {"name": "stdout", "text": "x" * 90_000})
send("stream", {"name": "stdout", "text": "ab\\b"}, 20_000)
""",
    "a large JSON display": """
send("display_data", {"data": {"application/json": [0] * (5 * M)}, "metadata": {}})
""",
    "many JSON displays": """
send("display_data", {"data": {"application/json": [[]] * 15_000}, "metadata": {}}, 300)
""",
    "a display with a million keys": """
send("display_data", {"data": {str(n): "" for n in range(M)}, "metadata": {}})
send("display_data", {"data": {}, "metadata": {str(n): "" for n in range(M)}})
""",
    "deeply nested JSON": """
send("display_data", b'{"data": ' + b"[" * (7 * M))
send("display_data", b'{"data": {"application/json": ' + b"[" * 900 + b"]" * 900 + b"}}", 100)
""",
    "long numbers": """
send("execute_result", b'{"execution_count": ' + b"1" * (5 * M) + b"}", 3)
send("execute_result", b'{"execution_count": 0.' + b"1" * (5 * M) + b"}", 3)
send("execute_result", b'{"execution_count": ' + b"1" * 4000 + b"}", 3)
""",
    "updates of many displays": """
show = {"data": {"text/plain": "a"}, "metadata": {}, "transient": {"display_id": "d"}}
send("display_data", show, 200)
send("update_display_data", show | {"data": {"text/plain": "x" * (3 * M)}}, 20)
""",
    "clear_output without end": """
while True: send("clear_output", {"wait": False})
""",
    "streams without end": """
while True: send("stream", {"name": "stdout", "text": "x" * 100_000})
""",
    "errors": """
send("error", {"ename": "E", "evalue": "x" * M, "traceback": ["x" * 1000] * 500}, 100)
""",
    "large messages of an unknown kind": """
while True: send("anything", {"a": "x" * (5 * M)})
""",
    "messages of another cell without end": """
while True: send("stream", {"name": "stdout", "text": "x" * 1000}, other={})
""",
    "messages that are not valid": """
while True: raw.send_multipart([b"not", b"a", b"message"])
""",
    "a message of a million parts": """
raw.send_multipart([b""] * M)
""",
    "parts without end": """
s, data = connection(2), b"\\x01\\x00" * 100_000
while True: s.sendall(data)
""",
    "a header of a megabyte": """
send("stream", {"name": "stdout", "text": "a"}, 20, other={"msg_id": "x" * M})
""",
    "late output of a thread without end": """
def flood():
    while not ended: send("stream", {"name": "stdout", "text": "x" * 100_000}, other={})
ended = False
threading.Thread(target=flood, daemon=True).start(); time.sleep(0.2)
""",
}
"""Code that floods the iopub channel, by name."""

SHELL_FLOODS = {
    "a large reply": """
shell("execute_reply", {"status": "ok", "payload": [[]] * (2 * M)})
""",
    "a reply with a million variables": """
shell("execute_reply", {"status": "ok", "kernel_env": {"variables": [{"name": "x"}] * M}})
""",
    "replies without end": """
while True: shell("execute_reply", {"status": "ok", "execution_count": 1}, other={})
""",
}
"""Code that floods the shell channel, by name."""
