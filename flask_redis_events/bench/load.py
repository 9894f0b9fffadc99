"""A load: many simulated browsers in one thread, on one epoll."""

from __future__ import annotations

import errno
import heapq
import os
import select
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from . import limits
from .blocks import Blocks
from .client import BadAnswer, Client
from .figures import Figures, Tally
from .target import Target

#: The most bytes of one read.
PIECE = 16 * 1024
#: The most clients whose messages are timed; the messages of all clients are counted.
SAMPLED = 100


class Load:
    """The clients of one target, or of several in turn; a context manager.

    `connect` opens streams, `run` counts their messages, `figures` returns the counts.  The clients
    resume from `last_event_ids`, in turn; with `reconnect` they reopen streams, as browsers do.
    """

    def __init__(
        self,
        *targets: Target,
        last_event_ids: Sequence[str] = (),
        reconnect: bool = True,
        sampled: int = SAMPLED,
    ) -> None:
        self.clients: list[Client] = []
        self.tally = Tally()
        #: How many clients have a stream, and how many wait for the answer to a request.
        self.open = 0
        self.unanswered = 0
        self._targets = targets
        self._last_event_ids = last_event_ids
        self._reconnect = reconnect
        self._sampled = sampled
        self._stride = 1
        self._ports = limits.ports()
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        #: A heap of (time of the next attempt, index) of clients that will reconnect.
        self._away: list[tuple[float, int]] = []

    @property
    def messages(self) -> int:
        """How many messages all clients have received."""
        return self.tally.messages

    @property
    def over(self) -> bool:
        """Whether no client has a stream, waits for one, or will reconnect."""
        return not (self.open or self.unanswered or self._away)

    # -- opening -----------------------------------------------------------------------------------

    def connect(
        self,
        count: int,
        *,
        rate: float | None = None,
        at_once: int | None = 500,
        timeout: float = 60.0,
        wait: bool = True,
        tell: Callable[[], None] = lambda: None,
    ) -> bool:
        """Open `count` more streams; say whether all of them are open within `timeout` seconds.

        `rate` limits the streams opened in a second, `at_once` the unanswered requests.  Some
        servers send no head before their first message, so `wait=False` waits for no answers.
        """
        self._stride = max(1, (len(self.clients) + count) // self._sampled)
        started = time.monotonic()
        goal = len(self.clients) + count
        first = len(self.clients)
        while time.monotonic() - started < timeout:
            asked = len(self.clients)
            if asked < goal:
                room = goal - asked if at_once is None else at_once - self.unanswered
                if rate is not None:
                    room = min(room, int((time.monotonic() - started) * rate) + 1 + first - asked)
                for _ in range(min(room, goal - asked, 100)):
                    self._add()
            elif self._settled(wait):
                break
            # While requests remain to be sent, a turn hardly waits for answers.
            self.turn(0.01 if asked == goal or rate is not None else 0.0005)
            tell()
        self.tally.opening_seconds = time.monotonic() - started
        self.tally.mark()
        return not wait or self.tally.opened >= goal

    def _settled(self, wait: bool) -> bool:
        if wait:
            return self.tally.opened >= len(self.clients) or not (self.unanswered or self._away)
        return all(client.connected for client in self.clients)

    def _add(self) -> None:
        index = len(self.clients)
        ids = self._last_event_ids
        client = Client(
            index,
            self._targets[index % len(self._targets)],
            last_event_id=ids[index % len(ids)] if ids else "",
            sampled=index % self._stride == 0,
        )
        self.clients.append(client)
        self._ask(client)

    def _ask(self, client: Client) -> None:
        target = client.target
        self.unanswered += 1
        try:
            sock = limits.connection(client.index, target.family, target.address[0], self._ports)
        except OSError as error:
            self._lose(client, _name(error))
            return
        client.begin(sock, time.monotonic())
        number = sock.connect_ex(target.address)
        if number not in (0, errno.EINPROGRESS):
            self._lose(client, errno.errorcode.get(number, str(number)))
            return
        self._by_fd[sock.fileno()] = client
        self._epoll.register(sock, select.EPOLLOUT)

    # -- a turn ------------------------------------------------------------------------------------

    def run(
        self,
        seconds: float,
        *,
        until: Callable[[], bool] = lambda: False,
        tell: Callable[[], None] = lambda: None,
    ) -> bool:
        """Count for some seconds, or until a condition is true; say whether it became true."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.turn(min(left, 0.1))
            tell()
        return True

    def turn(self, timeout: float) -> None:
        """Handle the events that are ready; wait up to `timeout` seconds for the first."""
        if self._away:
            timeout = self._come_back(timeout)
        by_fd = self._by_fd
        for fd, _ in self._epoll.poll(timeout, 1024):
            client = by_fd[fd]
            if client.connected:
                self._read(client)
            else:
                self._send(client)

    def _come_back(self, timeout: float) -> float:
        now = time.monotonic()
        while self._away and self._away[0][0] <= now:
            self._ask(self.clients[heapq.heappop(self._away)[1]])
        return min(timeout, self._away[0][0] - now) if self._away else timeout

    def _send(self, client: Client) -> None:
        sock = client.sock
        assert sock is not None
        try:
            # The send buffer of a new connection is empty, so it takes the whole request.
            sock.send(client.target.ask(client.last_event_id))
        except OSError as error:
            self._lose(client, _name(error))
            return
        client.connected = True
        self._epoll.modify(sock, select.EPOLLIN)

    def _read(self, client: Client) -> None:
        try:
            data = client.sock.recv(PIECE)  # type: ignore[union-attr]
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(client, _name(error))
            return
        if not data:
            self._lose(client, "cut off" if client.blocks is not None else "no answer")
            return
        self.tally.received_bytes += len(data)
        blocks = client.blocks
        if blocks is None:
            self._read_head(client, data)
            return
        self._count(client, blocks, data)

    def _count(self, client: Client, blocks: Blocks, data: bytes) -> None:
        messages = blocks.take(data)
        self.tally.messages += messages
        if client.sampled and messages:
            client.heard_at = self.tally.samples.hear(data, client.heard_at)
        if blocks.over:
            self._lose(client, None)

    def _read_head(self, client: Client, data: bytes) -> None:
        try:
            body = client.take_head(data)
        except BadAnswer as answer:
            # Like a browser, a client gives up after any status but 200; 204 is no error.
            client.done = True
            known = {204: None, None: "no HTTP"}
            self._lose(client, known.get(answer.status, f"status {answer.status}"))
            return
        if body is None:
            return
        self.tally.samples.openings.append(time.monotonic() - client.asked_at)
        self.unanswered -= 1
        self.open += 1
        if client.opened:
            self.tally.reconnections += 1
        else:
            client.opened = True
            self.tally.opened += 1
        if body and client.blocks is not None:
            self._count(client, client.blocks, body)

    def _lose(self, client: Client, error: str | None) -> None:
        """Note that a stream has ended; plan the reconnection, unless the server refused it."""
        if client.blocks is not None:
            self.open -= 1
        else:
            self.unanswered -= 1
        if error is not None:
            self.tally.errors[error] += 1
        if client.sock is not None:
            # `client.end` closes the socket, and the kernel then removes it from the epoll.
            self._by_fd.pop(client.sock.fileno(), None)
        client.end()
        if self._reconnect and not client.done:
            heapq.heappush(self._away, (time.monotonic() + client.retry, client.index))

    # -- figures -----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Set all counts but those of the opening to 0."""
        self.tally.reset(sum([client.controls for client in self.clients]))

    def figures(self) -> Figures:
        """Return the counts since the start or the last `reset`; rates exclude the opening."""
        controls = sum([client.controls for client in self.clients])
        return self.tally.figures(len(self.clients), open_at_end=self.open, controls=controls)

    def close(self) -> None:
        """End all connections; idempotent."""
        for client in self.clients:
            client.end()
        self._by_fd.clear()
        self._epoll.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _name(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
