"""Decide who may use a server.

On the loopback interface every program of this machine may, if no token is set. A request must then
name this machine (`Host`) and may not come from a web page of others (`Origin`), so that a page in
a browser here cannot reach the server, by whatever name (DNS rebinding). On any other interface a
token is required, in the header `Authorization: Bearer TOKEN`.
"""

import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

from kernel_env.errors import UsageError
from kernel_env.watch.loopback import is_loopback, is_this_machine

TOKEN_VARIABLE = "KERNEL_ENV_TOKEN"  # noqa: S105 - a variable's name
"""The environment variable with the token; other users can read the words of a command line."""
MIN_TOKEN = 16
"""The least number of characters of a token."""
MAX_BODY_BYTES = 4 * 1024 * 1024
"""The longest body of a request, and the longest message of a WebSocket."""
MAX_DRAINED_BYTES = 64 * 1024 * 1024
"""How much of a refused body is read, so that its sender gets to read the answer."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a request is not answered."""

    status: HTTPStatus
    reason: str
    """One line for the client's operator."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may use a server. Raises `UsageError` if that would be anybody."""

    host: str = "127.0.0.1"
    """The address that the server listens on."""
    token: str = field(default="", repr=False)
    """What a client must know; empty: nothing."""

    def __post_init__(self) -> None:
        """Check the token."""
        if not self.token and not is_loopback(self.host):
            raise UsageError(
                f"--host {self.host} can be reached from other machines, so it needs a token; set"
                f" {TOKEN_VARIABLE} to a long random text"
            )
        if self.token and not (
            len(self.token) >= MIN_TOKEN and self.token.isascii() and self.token.isprintable()
        ):
            raise UsageError(
                f"the token must have at least {MIN_TOKEN} characters, printable ASCII only"
            )

    def address(self, port: int) -> str:
        """Return the address of a server that listens on a port."""
        return f"http://[{self.host}]:{port}" if ":" in self.host else f"http://{self.host}:{port}"

    def refusal(self, headers: Iterable[tuple[str, str]]) -> Refusal | None:
        """Return why a request with these headers is refused; None if it is not."""
        named: dict[str, list[str]] = {}
        for name, value in headers:
            named.setdefault(name.lower(), []).append(value)
        if is_loopback(self.host):
            if not is_this_machine(named.get("host", [])):
                return Refusal(
                    status=HTTPStatus.MISDIRECTED_REQUEST,
                    reason="the header Host must name this machine, such as localhost",
                )
            if not all(map(is_own_origin, named.get("origin", []))):
                return Refusal(
                    status=HTTPStatus.FORBIDDEN,
                    reason="web pages of other machines may not use this server",
                )
        if self.token and not self._knows_token(named.get("authorization", [])):
            return Refusal(
                status=HTTPStatus.UNAUTHORIZED,
                reason="the header Authorization must be: Bearer, a space, and the server's token",
            )
        return length_refusal(named)

    def _knows_token(self, given: list[str]) -> bool:
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode(), self.token.encode()
        )


def access_from(host: str, token: str) -> Access:
    """Return who may use a server, with the token of the environment by default.

    Raises `UsageError`.
    """
    return Access(host=host, token=token or os.environ.get(TOKEN_VARIABLE, ""))


def is_own_origin(origin: str) -> bool:
    """Return whether a page comes from a server on this machine."""
    scheme, _, host = origin.partition("://")
    return scheme in ("http", "https") and is_this_machine([host])


def length_refusal(named: dict[str, list[str]]) -> Refusal | None:
    """Return why a request with a body of unknown or of too great length is refused."""
    if "transfer-encoding" in named:
        return Refusal(
            status=HTTPStatus.LENGTH_REQUIRED,
            reason="a body needs the header Content-Length; it may not be sent in chunks",
        )
    length = body_length(named.get("content-length", []))
    if length is None:
        return Refusal(
            status=HTTPStatus.BAD_REQUEST, reason="the header Content-Length must be one number"
        )
    if length > MAX_BODY_BYTES:
        return Refusal(
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            reason=f"the body has {length:,} bytes; at most {MAX_BODY_BYTES:,} are accepted",
        )
    return None


def body_length(given: list[str]) -> int | None:
    """Return the length of a request's body, bytes; None if the header is not valid."""
    if not given:
        return 0
    text = given[0]
    return int(text) if len(given) == 1 and text.isascii() and text.isdigit() else None
