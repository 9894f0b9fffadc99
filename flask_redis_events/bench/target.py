"""What to ask for, and of whom: a URL as the bytes of a request."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

AGENT = "flask-redis-events-bench"


@dataclass(frozen=True, slots=True)
class Target:
    """One stream's address; `of` makes it, once for all clients."""

    family: int
    address: Any
    #: The request line and the headers, without the empty line that ends them.
    request: bytes

    @classmethod
    def of(cls, url: str, headers: Sequence[str] = ()) -> Target:
        """Resolve a URL; `headers` are lines like "Cookie: session=…".

        Raises `ValueError` for what cannot be asked for, `OSError` for a host that is not found.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            # TLS would measure TLS: a proxy that speaks it can be asked in plain HTTP, or left out.
            raise ValueError(f"The URL must begin with http://, which {url!r} does not.")
        if any(":" not in line or set(line) & set("\r\n") for line in headers):
            raise ValueError("A header must be one line like 'Cookie: session=…'.")
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
        query = f"?{parts.query}" if parts.query else ""
        lines = [
            f"GET {parts.path or '/'}{query} HTTP/1.1",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            f"User-Agent: {AGENT}",
            "Accept: text/event-stream",
            "Cache-Control: no-cache",
            *headers,
        ]
        return cls(found[0][0], found[0][4], "".join(f"{line}\r\n" for line in lines).encode())

    def ask(self, last_event_id: str = "") -> bytes:
        """Return the bytes of a request, for a client that had a stream before or not."""
        resume = f"Last-Event-ID: {last_event_id}\r\n".encode() if last_event_id else b""
        return b"%b%b\r\n" % (self.request, resume)
