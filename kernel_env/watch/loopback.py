"""Serve pages to a browser on this machine, and to nobody else.

It listens on the loopback interface. A page needs the random token in the address; a request that
names another host than this machine is refused, so that a web page of others cannot reach it by a
name of its own (DNS rebinding). No answer may be kept, or read by another origin.
"""

import hmac
import ipaddress
import secrets
import socket
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine, also behind an SSH tunnel to another."""
STALLED_S = 30.0
"""Time limit for a reader to send its request, and to take what was written."""
MAX_READERS = 32
"""How many requests are answered at once."""


class LoopbackServer(ThreadingHTTPServer):
    """A server with a token."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        requests: type["LoopbackRequest"],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        readers: int = MAX_READERS,
    ) -> None:
        """Listen.

        Args:
            requests: the class that answers.
            host: the address to listen on.
            port: the port; 0 for a free one.
            readers: how many requests are answered at once.

        Raises `OSError`.
        """
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), requests)
        self.token = secrets.token_urlsafe(32)
        self.readers = threading.Semaphore(readers)

    @property
    def url(self) -> str:
        """Return the address of the first page."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"


class LoopbackRequest(BaseHTTPRequestHandler):
    """One request. Subclasses answer those that know the token and name this machine."""

    server: LoopbackServer
    server_version, sys_version = "kernel_env", ""
    timeout = STALLED_S

    def answer(self, name: str) -> None:
        """Answer a request for what has this name below the token; `refuse` what there is not."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer a request."""
        if not self.server.readers.acquire(blocking=False):
            return self.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            return self._check_and_answer()
        except OSError:  # the reader has gone
            return None
        finally:
            self.server.readers.release()

    def _check_and_answer(self) -> None:
        if not is_this_machine(self.headers.get_all("Host") or []):
            return self.refuse(HTTPStatus.MISDIRECTED_REQUEST)
        empty, _, rest = self.path.partition("/")
        token, _, name = rest.partition("/")
        if empty or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            return self.refuse(HTTPStatus.NOT_FOUND)
        return self.answer(name)

    def refuse(self, status: HTTPStatus) -> None:
        """Answer with a status alone."""
        self.begin(status, "text/plain", "default-src 'none'; frame-ancestors 'none'")
        self.wfile.write(f"{status.phrase}\n".encode())

    def begin(
        self, status: HTTPStatus, kind: str, policy: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send the headers of an answer.

        Args:
            status: of the answer.
            kind: its media type.
            policy: its content security policy, which also says what may frame it.
            headers: further ones.
        """
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
            *(headers or {}).items(),
        ):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        """Log nothing: the address has the token."""


def is_this_machine(hosts: list[str]) -> bool:
    """Return whether the `Host` headers of a request name this machine, with any port."""
    name, colon, port = hosts[0].rpartition(":") if len(hosts) == 1 else ("", "", "")
    return (name if colon and port.isdigit() else "".join(hosts)) in HOSTS


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
