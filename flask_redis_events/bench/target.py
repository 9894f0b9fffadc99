"""The address and the request of a stream, made of its URL."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

AGENT = "flask-redis-events-bench"


@dataclass(frozen=True, slots=True)
class Target:
    """A stream to open; it is made once with `of`, and shared by all clients."""

    family: int
    address: Any
    #: The request line and the headers, without the empty line that ends them.
    request: bytes

    @classmethod
    def of(cls, url: str, headers: Sequence[str] = ()) -> Target:
        """Resolve the URL's host; `headers` are lines like "Cookie: session=…".

        Raises `ValueError` for a wrong URL or header, `OSError` for a host that is not found.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            # Over TLS, the cost of encryption in this process would distort the figures.  Measure
            # behind the proxy that terminates it, or let the proxy accept plain HTTP.
            raise ValueError(f"The URL must begin with http://, not {url!r}.")
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
        """Return the bytes of a request; with an id, of a client that resumes from it."""
        resume = f"Last-Event-ID: {last_event_id}\r\n".encode() if last_event_id else b""
        return b"%b%b\r\n" % (self.request, resume)
