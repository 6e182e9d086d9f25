"""Read the live pages of episodes as they grow, and send requests to their server."""

import http.client
import threading
import time
from urllib.parse import urlsplit


class Reader(threading.Thread):
    """Reads a page as it grows."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.page = ""
        self._connection, self.answer = request(url)
        while self.answer.status == http.client.NOT_FOUND:  # the server has not heard of it yet
            self._connection.close()
            time.sleep(0.05)
            self._connection, self.answer = request(url)
        self.start()

    def run(self) -> None:
        """Read until the page ends."""
        while chunk := self.answer.read1(65536):
            self.page += chunk.decode()
        self._connection.close()

    def wait_for(self, text: str) -> None:
        """Wait until the page has a text."""
        for _ in range(300):
            if text in self.page:
                return
            time.sleep(0.05)
        raise AssertionError(f"{text!r} is not in the page: {self.page[-2000:]}")


def request(
    url: str, path: str | None = None, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Send a request, POST if it has a body; return the connection and the response."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    method = "GET" if body is None else "POST"
    connection.request(method, path or parts.path, body, headers)
    return connection, connection.getresponse()


def status(url: str, path: str | None = None, body: bytes | None = None, **headers: str) -> int:
    """Return the status of the response to a request."""
    connection, answer = request(url, path, body, **headers)
    connection.close()
    return answer.status
