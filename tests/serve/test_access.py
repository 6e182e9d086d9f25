"""A server on this machine answers who names it; any other only who knows the token."""

from http import HTTPStatus

import pytest

from kernel_env.errors import UsageError
from kernel_env.serve.access import MAX_BODY_BYTES, Access, access_from

TOKEN = "a-long-random-text"
LOCAL = Access()
WITH_TOKEN = Access(token=TOKEN)
REMOTE = Access(host="0.0.0.0", token=TOKEN)
HOST = ("Host", "localhost:8765")
BEARER = ("Authorization", f"Bearer {TOKEN}")


def status(access: Access, *headers: tuple[str, str]) -> int:
    refusal = access.refusal(headers)
    return 200 if refusal is None else refusal.status.value


@pytest.mark.parametrize(
    ("access", "headers", "expected"),
    [
        (LOCAL, [HOST], 200),
        (LOCAL, [("HOST", "127.0.0.1")], 200),
        (LOCAL, [("host", "[::1]:80")], 200),
        (LOCAL, [], 421),
        (LOCAL, [("Host", "evil.example:8765")], 421),
        (LOCAL, [HOST, ("Host", "evil.example")], 421),
        (LOCAL, [HOST, ("Origin", "http://localhost:3000")], 200),
        (LOCAL, [HOST, ("Origin", "https://evil.example")], 403),
        (LOCAL, [HOST, ("Origin", "null")], 403),
        (LOCAL, [HOST, ("Origin", "http://localhost:3000"), ("Origin", "http://evil")], 403),
        (WITH_TOKEN, [HOST], 401),
        (WITH_TOKEN, [HOST, BEARER], 200),
        (WITH_TOKEN, [HOST, ("authorization", f"bearer {TOKEN}")], 200),
        (WITH_TOKEN, [HOST, BEARER, BEARER], 401),
        (WITH_TOKEN, [HOST, ("Authorization", f"Bearer {TOKEN}x")], 401),
        (WITH_TOKEN, [HOST, ("Authorization", "Bearer ")], 401),
        (WITH_TOKEN, [HOST, ("Authorization", "Bearer \u20ac")], 401),
        (WITH_TOKEN, [HOST, ("Authorization", f"Basic {TOKEN}")], 401),
        (REMOTE, [("Host", "gpu-machine.example")], 401),
        (REMOTE, [("Host", "gpu-machine.example"), BEARER], 200),
        (REMOTE, [BEARER, ("Origin", "https://anywhere.example")], 200),
        (LOCAL, [HOST, ("Content-Length", "0")], 200),
        (LOCAL, [HOST, ("Content-Length", str(MAX_BODY_BYTES))], 200),
        (LOCAL, [HOST, ("Content-Length", str(MAX_BODY_BYTES + 1))], 413),
        (LOCAL, [HOST, ("Content-Length", "-1")], 400),
        (LOCAL, [HOST, ("Content-Length", "\u0661")], 400),
        (LOCAL, [HOST, ("Content-Length", "1"), ("Content-Length", "1")], 400),
        (LOCAL, [HOST, ("Transfer-Encoding", "chunked")], 411),
    ],
)
def test_a_request_is_answered_or_refused_by_its_headers(
    access: Access, headers: list[tuple[str, str]], expected: int
) -> None:
    assert status(access, *headers) == expected


def test_a_refusal_is_one_line_without_the_token() -> None:
    refusal = WITH_TOKEN.refusal([HOST])

    assert refusal is not None
    assert refusal.status is HTTPStatus.UNAUTHORIZED
    assert refusal.reason == (
        "the header Authorization must be: Bearer, a space, and the server's token"
    )


@pytest.mark.parametrize(
    ("host", "token", "message"),
    [
        ("0.0.0.0", "", "--host 0.0.0.0 can be reached from other machines, so it needs a token"),
        ("example.org", "", "set KERNEL_ENV_TOKEN to a long random text"),
        ("::", "", "needs a token"),
        ("127.0.0.1", "short", "the token must have at least 16 characters"),
        ("127.0.0.1", "a long text with an \u20ac sign", "printable ASCII only"),
    ],
)
def test_a_server_that_anybody_could_use_is_refused(host: str, token: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Access(host=host, token=token)

    assert message in str(raised.value)


def test_the_token_is_in_a_variable_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNEL_ENV_TOKEN", TOKEN)

    assert access_from("0.0.0.0", "").token == TOKEN
    assert access_from("0.0.0.0", f"{TOKEN}2").token == f"{TOKEN}2"
    assert TOKEN not in repr(access_from("127.0.0.1", ""))


def test_an_address_can_be_opened() -> None:
    assert LOCAL.address(80) == "http://127.0.0.1:80"
    assert Access(host="::1").address(80) == "http://[::1]:80"
