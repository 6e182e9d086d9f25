"""Keep the last bytes of a stream."""


class TailBuffer:
    """Keeps the last bytes of a stream and counts them all."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.seen_bytes = 0
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        """Append data. The cost does not depend on how the stream is cut into pieces."""
        self.seen_bytes += len(data)
        self._kept += data[-self.limit_bytes :]
        if len(self._kept) > 2 * self.limit_bytes:
            del self._kept[: -self.limit_bytes]

    @property
    def kept(self) -> bytes:
        """Return the last bytes, at most the limit."""
        return bytes(self._kept[-self.limit_bytes :])

    @property
    def left_out_bytes(self) -> int:
        """Return how many bytes precede those that are kept."""
        return self.seen_bytes - len(self.kept)
