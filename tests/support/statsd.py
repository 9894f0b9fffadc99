"""A statsd server: a UDP socket on loopback that adds up what it is sent."""

from __future__ import annotations

import socket
from collections import Counter
from types import TracebackType
from typing import Self


class Statsd:
    """Counters and timers by name; a context manager.  `read` takes in what has come."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        #: For each timer its values in milliseconds, in order.
        self.times: dict[str, list[float]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)

    @property
    def address(self) -> str:
        """What gunicorn's `--statsd-host` takes."""
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def read(self) -> Self:
        """Take in all that has come; never blocks."""
        while True:
            try:
                datagram = self._socket.recv(65536)
            except BlockingIOError:
                return self
            self._take(datagram.decode())

    def _take(self, text: str) -> None:
        # gunicorn sends one metric each: "name:1|c|@1.0", "name:12.3|ms" or "name:2|g".
        name, _, rest = text.partition(":")
        value, kind, *_ = rest.split("|")
        if kind == "c":
            self.counts[name] += int(value)
        elif kind == "ms":
            self.times.setdefault(name, []).append(float(value))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
