"""Clients for the tests: one that reads a stream's bytes, and one like a browser's EventSource.

They use plain sockets and threads, so that they work with threads and with greenlets.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from flask_redis_events.wire.sse import Decoder, Event
from tests.support.http_body import Body, Chunked, Counted, UntilClosed

#: The certificate of a server that speaks TLS.
CERTIFICATE = Path(__file__).parent / "tls" / "cert.pem"
#: Control events that `next_data` skips, because they report no loss.
CONTROL = ("ready", "heartbeat", "reconnect")


class StreamEnded(EOFError):
    """The response ended before the expected event arrived."""


class SSEClient:
    """One GET of a stream, read by one thread; a context manager.

    Making one returns when the response's head has arrived, within `timeout` seconds.  The methods
    raise TimeoutError if they wait too long, and StreamEnded if the stream ends meanwhile.  With a
    small `receive_buffer`, in bytes, the server's writes soon block if the client does not read.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        last_event_id: str | None = None,
        *,
        timeout: float | None = 5,
        receive_buffer: int | None = None,
    ) -> None:
        self.url = url
        #: All bytes of the connection, head and framing included.
        self.raw = bytearray()
        #: The bytes of the body, without framing and compression.
        self.body = bytearray()
        #: All events so far, also those that `next` has not returned yet.
        self.events: list[Event] = []
        #: Whether the body has ended by its framing; False also if it was cut off.
        self.clean = False
        #: Whether the connection has ended, in any way.
        self.closed = False
        self.decoder = Decoder()
        self._returned = 0
        self._inflate: Callable[[bytes], bytes] = bytes
        self._socket = socket.socket()
        try:
            self._open(headers or {}, last_event_id, timeout, receive_buffer)
        except BaseException:
            self._socket.close()
            raise

    def _open(
        self,
        headers: Mapping[str, str],
        last_event_id: str | None,
        timeout: float | None,
        receive_buffer: int | None,
    ) -> None:
        deadline = _deadline(timeout)
        parts = urlsplit(self.url)
        if receive_buffer is not None:  # before connecting, because it decides the TCP window
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout)
        self._socket.connect((parts.hostname, parts.port or 80))
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=CERTIFICATE)
            self._socket = context.wrap_socket(self._socket, server_hostname=parts.hostname)
        self._socket.sendall(_request(self.url, headers, last_event_id))
        head, rest = self._read_head(deadline)
        status_line, _, fields = head.partition(b"\r\n")
        self.status = int(status_line.split()[1])
        #: Names are case-insensitive; an absent field is None.
        self.headers = http.client.parse_headers(io.BytesIO(fields))
        self._framing = _framing(self.status, self.headers)
        if self.headers["Content-Encoding"] == "gzip":
            self._inflate = zlib.decompressobj(wbits=31).decompress
        self._take(rest)

    def next(self, timeout: float | None = 5) -> Event:
        """Return the next event that has not been returned yet."""
        deadline = _deadline(timeout)
        while self._returned == len(self.events):
            self._receive(deadline)
        self._returned += 1
        return self.events[self._returned - 1]

    def next_data(self, timeout: float | None = 5, *, event: str = "message") -> Any:
        """Return the JSON value of the next event; skip control events before it.

        Raise AssertionError if it is a different event (`reset`, for example).
        """
        got = self.until(lambda got: got.event == event or got.event not in CONTROL, timeout)
        if got.event != event:
            raise AssertionError(f"Expected the event {event!r}, got {got}.")
        return json.loads(got.data)

    @property
    def taken(self) -> list[Event]:
        """The events that `next` has returned."""
        return self.events[: self._returned]

    def until(self, predicate: Callable[[Event], object], timeout: float | None = 5) -> Event:
        """Return the first event for which `predicate` is true; earlier ones count as returned."""
        deadline = _deadline(timeout)
        while True:
            event = self.next(_left(deadline))
            if predicate(event):
                return event

    def wait_closed(self, timeout: float | None = 5) -> bool:
        """Read to the end; return whether the body ended by its framing, with its last chunk."""
        deadline = _deadline(timeout)
        while not (self.closed or self.clean):
            try:
                self._receive(deadline)
            except StreamEnded:
                break
        return self.clean

    def wait_disconnected(self, timeout: float | None = 5) -> None:
        """Return once the server has closed the connection; read and keep its last bytes."""
        deadline = _deadline(timeout)
        while not self.closed:
            if data := self._read(deadline):
                self._take(data)
            else:
                self.closed = True

    def send(self, data: bytes) -> None:
        """Send bytes that the server does not expect."""
        self._socket.sendall(data)

    def half_close(self) -> None:
        """Close the sending side (FIN), and go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection, as a browser does with its page.  Idempotent."""
        self.closed = True
        self._socket.close()

    def interrupt(self) -> None:
        """End the connection while another thread waits in this client."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_head(self, deadline: float | None) -> tuple[bytes, bytes]:
        while b"\r\n\r\n" not in self.raw:
            if not self._read(deadline):
                raise StreamEnded(f"No response from {self.url}, only {bytes(self.raw)!r}.")
        head, _, rest = bytes(self.raw).partition(b"\r\n\r\n")
        return head + b"\r\n\r\n", rest

    def _receive(self, deadline: float | None) -> None:
        """Wait for more of the body."""
        if self.clean or self.closed:
            ending = "ended cleanly" if self.clean else "was cut off"
            raise StreamEnded(f"The stream {ending}; so far: {bytes(self.body[-500:])!r}")
        data = self._read(deadline)
        if data:
            self._take(data)
        else:
            self.closed = True

    def _read(self, deadline: float | None) -> bytes:
        left = _left(deadline)
        # A timeout of 0 would make the socket non-blocking, which raises another error.
        self._socket.settimeout(None if left is None else max(left, 0.001))
        try:
            data = self._socket.recv(65536)
        except TimeoutError as exc:
            so_far = bytes(self.body[-500:])
            raise TimeoutError(f"No bytes arrived in time; so far: {so_far!r}") from exc
        except ConnectionError:
            data = b""
        self.raw += data
        return data

    def _take(self, data: bytes) -> None:
        body = self._inflate(self._framing.feed(data))
        self.body += body
        self.events += self.decoder.feed(body)
        self.clean = self._framing.done


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _request(url: str, headers: Mapping[str, str], last_event_id: str | None) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {"Host": parts.netloc, "Accept": "text/event-stream", "Cache-Control": "no-cache"}
    if last_event_id:
        fields["Last-Event-ID"] = last_event_id
    lines = [f"{name}: {value}" for name, value in (fields | dict(headers)).items()]
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode()


def _framing(status: int, headers: http.client.HTTPMessage) -> Body:
    if status in (204, 304):
        return Counted(0)
    if (headers["Transfer-Encoding"] or "").lower() == "chunked":
        return Chunked()
    length = headers["Content-Length"]
    return UntilClosed() if length is None else Counted(int(length))


class EventSource:
    """A browser's EventSource, in a thread; a context manager.

    When the connection fails or ends, the client reconnects with the last id after `retry`
    milliseconds, or after those that the stream asked for (browsers begin with about 3000).  Any
    status but 200 (see `status`) and any content type but text/event-stream ends it for good.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        last_event_id: str = "",
        *,
        retry: int = 100,
    ) -> None:
        self._url = url
        self._headers = headers
        # Guards all attributes below.
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._client: SSEClient | None = None
        self._last_event_id = last_event_id
        self._retry = retry
        self._connections = 0
        self._status: int | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="EventSource", daemon=True)
        self._thread.start()

    @property
    def events(self) -> list[Event]:
        """All events so far, over all connections."""
        with self._changed:
            return list(self._events)

    @property
    def data(self) -> list[Any]:
        """The JSON values of the `message` events so far."""
        return [json.loads(event.data) for event in self.events if event.event == "message"]

    @property
    def last_event_id(self) -> str:
        with self._changed:
            return self._last_event_id

    @property
    def retry(self) -> int:
        """The milliseconds before the client reconnects."""
        with self._changed:
            return self._retry

    @property
    def connections(self) -> int:
        """How many times the client has opened a stream."""
        with self._changed:
            return self._connections

    @property
    def begun(self) -> bool:
        """Whether a stream is open, and has had its first event."""
        with self._changed:
            return self._client is not None and bool(self._client.taken)

    @property
    def status(self) -> int | None:
        """The status of the last response, None before the first."""
        with self._changed:
            return self._status

    @property
    def stopped(self) -> bool:
        """Whether the client was refused or closed, so that it will not reconnect."""
        with self._changed:
            return self._stopped

    def wait_for(
        self, predicate: Callable[[list[Event]], object], timeout: float = 5
    ) -> list[Event]:
        """Return all events once `predicate` is true of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self._events), timeout):
                raise TimeoutError(f"After {timeout} s only: {self._events}")
            return list(self._events)

    def wait_connected(self, connections: int = 1, timeout: float = 5) -> None:
        """Return once the client has opened this many streams, the first included."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._connections >= connections, timeout):
                raise TimeoutError(f"{self._connections} connections, status {self._status}.")

    def drop(self) -> None:
        """Cut the connection, as a network failure does; the client reconnects."""
        with self._changed:
            client = self._client
        if client is not None:
            client.interrupt()

    def wait_stopped(self, timeout: float = 5) -> int | None:
        """Wait until the client has stopped; return the status that stopped it."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._stopped, timeout):
                raise TimeoutError(f"The client goes on; its last events were {self._events[-5:]}")
            return self._status

    def close(self) -> None:
        """Close the connection and end the thread.  Idempotent."""
        with self._changed:
            self._stopped = True
            client = self._client
            self._changed.notify_all()
        if client is not None:
            client.interrupt()
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self.stopped:
            try:
                with self._connect() as client:
                    self._read(client)
            except (OSError, StreamEnded):  # refused, reset, timed out; browsers reconnect
                pass
            with self._changed:
                self._client = None
                self._changed.wait_for(lambda: self._stopped, self._retry / 1000)

    def _connect(self) -> SSEClient:
        client = SSEClient(self._url, self._headers, self.last_event_id, timeout=10)
        essence = (client.headers["Content-Type"] or "").partition(";")[0].strip().lower()
        with self._changed:
            self._client = client
            self._status = client.status
            if client.status != 200 or essence != "text/event-stream":
                self._stopped = True
            else:
                self._connections += 1
            self._changed.notify_all()
        return client

    def _read(self, client: SSEClient) -> None:
        while not self.stopped:
            try:
                self._take(client, [client.next(timeout=None)])
            except StreamEnded:
                return self._take(client, [])

    def _take(self, client: SSEClient, events: list[Event]) -> None:
        with self._changed:
            self._events += events
            if client.decoder.retry is not None:
                self._retry = client.decoder.retry
            # The id of the last event taken, because the decoder may be ahead of it; a page that is
            # closed in between has not received the rest.
            id = events[-1].last_event_id if events else client.decoder.last_event_id
            # Browsers keep the id of the previous connection until this one has sent an id, and an
            # empty id takes it from them, also in a frame without data.
            at = client.body.rfind(b"\nid: ")
            emptied = at >= 0 and client.body.startswith(b"\n", at + 5)
            if id or emptied or any(event.last_event_id for event in client.taken):
                self._last_event_id = "" if emptied else id
            self._changed.notify_all()
