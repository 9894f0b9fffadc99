"""All clients of one load, on one epoll."""

from __future__ import annotations

import errno
import heapq
import os
import re
import select
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from . import limits
from .client import BadAnswer, Client
from .figures import Figures, Spread
from .target import Target

#: Bytes of one read.
PIECE = 16 * 1024
#: Samples that are kept, the newest.
SAMPLES = 200_000
#: Clients that are looked at closely, at most: all are counted, these are timed.
SAMPLED = 100

_TIME = re.compile(rb'"t": ?([0-9]{1,12}(?:\.[0-9]{1,9})?)')


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
        self.targets = targets
        self.clients: list[Client] = []
        #: How many have a stream.
        self.open = 0
        self.messages = 0
        self.received_bytes = 0
        self.control_frames = 0
        self.reconnections = 0
        self.errors: Counter[str] = Counter()
        self.latencies: deque[float] = deque(maxlen=SAMPLES)
        self.intervals: deque[float] = deque(maxlen=SAMPLES)
        self.openings: deque[float] = deque(maxlen=SAMPLES)
        self._last_event_ids = last_event_ids
        self._reconnect = reconnect
        self._sampled = sampled
        self._stride = 1
        self._ports = limits.ports()
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        #: When who comes back.
        self._away: list[tuple[float, int]] = []
        #: How many are asked for and not answered.
        self.unanswered = 0
        self._opened = 0
        self._opening_seconds = 0.0
        self._started = time.monotonic()
        self._started_cpu = time.process_time()

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
        self._opening_seconds = time.monotonic() - started
        self._opened = self.open
        return self.open >= goal if wait else self.unanswered < goal

    def _settled(self, wait: bool) -> bool:
        if wait:
            return self.open >= len(self.clients) or not (self.unanswered or self._away)
        return all(client.connected for client in self.clients)

    def _add(self) -> None:
        index = len(self.clients)
        ids = self._last_event_ids
        client = Client(
            index,
            last_event_id=ids[index % len(ids)] if ids else "",
            sampled=index % self._stride == 0,
        )
        self.clients.append(client)
        self._ask(client)

    def _ask(self, client: Client) -> None:
        target = self._target(client)
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

    def _target(self, client: Client) -> Target:
        return self.targets[client.index % len(self.targets)]

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
            sock.send(self._target(client).ask(client.last_event_id))
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
        self.received_bytes += len(data)
        blocks = client.blocks
        if blocks is None:
            self._read_head(client, data)
            return
        messages = blocks.take(data)
        self.messages += messages
        if client.sampled and messages:
            self._time(client, data)
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
        self.openings.append(time.monotonic() - client.asked_at)
        self.unanswered -= 1
        self.open += 1
        self.reconnections += client.opened
        client.opened = True
        if body and client.blocks is not None:
            self.messages += client.blocks.take(body)
            if client.blocks.over:
                self._lose(client, None)

    def _lose(self, client: Client, error: str | None) -> None:
        """Take note of a stream's end; the browser comes back, unless it was told not to."""
        if client.blocks is not None:
            self.open -= 1
            self.control_frames += client.blocks.controls
        else:
            self.unanswered -= 1
        if error is not None:
            self.errors[error] += 1
        if client.sock is not None:
            # Closing takes it off the epoll too.
            self._by_fd.pop(client.sock.fileno(), None)
        client.end()
        if self._reconnect and not client.done:
            heapq.heappush(self._away, (time.monotonic() + client.retry, client.index))

    def _time(self, client: Client, data: bytes) -> None:
        now = time.monotonic()
        if client.heard_at:
            self.intervals.append(now - client.heard_at)
        client.heard_at = now
        unix = time.time()
        for text in _TIME.findall(data):
            sent = float(text)
            # The two clocks are decades apart, except on a machine that has run as long.
            late = unix - sent if abs(unix - sent) < 1e6 else now - sent
            self.latencies.append(late)

    # -- figures -----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Count from here."""
        self.messages = self.received_bytes = self.control_frames = self.reconnections = 0
        for client in self.clients:
            if client.blocks is not None:
                client.blocks.controls = 0
        self.errors.clear()
        self.latencies.clear()
        self.intervals.clear()
        self._started = time.monotonic()
        self._started_cpu = time.process_time()

    @property
    def controls(self) -> int:
        """How many control frames there were so far."""
        live = [client.blocks.controls for client in self.clients if client.blocks is not None]
        return self.control_frames + sum(live)

    def figures(self) -> Figures:
        """Return what there was since the start, or since `reset`."""
        return Figures(
            clients=len(self.clients),
            opened=self._opened,
            open_at_end=self.open,
            opening_seconds=self._opening_seconds,
            opening=Spread.of(self.openings),
            seconds=time.monotonic() - self._started,
            messages=self.messages,
            control_frames=self.controls,
            received_bytes=self.received_bytes,
            latency=Spread.of(self.latencies),
            interval=Spread.of(self.intervals),
            reconnections=self.reconnections,
            errors=dict(self.errors),
            own_cpu=time.process_time() - self._started_cpu,
        )

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
