"""All clients of one load, on one epoll."""

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

#: Bytes of one read.
PIECE = 16 * 1024
#: Clients that are looked at closely, at most: all are counted, these are timed.
SAMPLED = 100


class Load:
    """Clients of one target, or of several in turn; a context manager.

    `last_event_ids` are what they come back with, in turn; `reconnect` as a browser does.
    Open some, wait until they are open, `run`, and take the figures.
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
        #: How many have a stream, and how many are asked for and not answered.
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
        #: When who comes back.
        self._away: list[tuple[float, int]] = []

    @property
    def messages(self) -> int:
        """How many came so far, over all clients."""
        return self.tally.messages

    @property
    def over(self) -> bool:
        """Whether nobody has a stream, waits for one, or is to come back."""
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
        """Open so many more streams; say whether all of them are open within `timeout` seconds.

        `rate`: streams a second; `at_once`: how many may be unanswered.  `wait=False` returns once
        all have asked: some servers send no head before their first message.
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
            # With something left to ask for, answers are only looked at.
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
        """Count for so many seconds, or until a condition; say whether it came true."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.turn(min(left, 0.1))
            tell()
        return True

    def turn(self, timeout: float) -> None:
        """Take what there is; wait for it `timeout` seconds at most."""
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
            # A request fits into the buffer of a fresh connection.
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
            # What a browser does: 204 is the end, and anything else that is not 200 is too.
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
        """Take note of a stream's end; the browser comes back, unless it was told not to."""
        if client.blocks is not None:
            self.open -= 1
        else:
            self.unanswered -= 1
        if error is not None:
            self.tally.errors[error] += 1
        if client.sock is not None:
            # Closing takes it off the epoll too.
            self._by_fd.pop(client.sock.fileno(), None)
        client.end()
        if self._reconnect and not client.done:
            heapq.heappush(self._away, (time.monotonic() + client.retry, client.index))

    # -- figures -----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Count from here."""
        self.tally.reset(sum([client.controls for client in self.clients]))

    def figures(self) -> Figures:
        """Return what there was since the start, or since `reset`; rates are after the opening."""
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
