"""The end of a long stream of bytes."""


class TailBuffer:
    """Remembers the last bytes of what it is given, and how many there were in all."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.seen_bytes = 0
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        """At a cost that does not depend on how the stream is cut into pieces."""
        self.seen_bytes += len(data)
        self._kept += data[-self.limit_bytes :]
        if len(self._kept) > 2 * self.limit_bytes:
            del self._kept[: -self.limit_bytes]

    @property
    def kept(self) -> bytes:
        """The end, at most the limit."""
        return bytes(self._kept[-self.limit_bytes :])

    @property
    def left_out_bytes(self) -> int:
        """How many bytes came before what is kept."""
        return self.seen_bytes - len(self.kept)
