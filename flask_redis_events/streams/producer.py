"""Application code that fills streams: the base of every kind, and a callback for each message.

A producer stands between an inbox, which listens to the channels, and a target: the one client of a
stream, or with `shared=True` a group of clients.  It works in two steps: make, then send.  Under
gevent the hub's pool works for all producers, so that an idle one holds no greenlet; under threads
the stream's own thread does.

A producer works in step with its client: while the client's backlog is half full, messages wait in
the inbox, where the overflow policy acts on them, as messages have ids and keys.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .. import concurrency, endings
from ..channels import PRESENCE
from ..concurrency import TURN
from ..endings import Ending
from ..exceptions import SubscriptionClosed
from ..hub import Hub
from ..wire import PART, Batch, Message, Position, control, joined
from ..wire.control import Loss
from .callbacks import Runner, StreamEvent
from .source import Source

OnMessage = Callable[[str, Any, StreamEvent], Any]


class Producer(Source):
    """Application code that makes what its target is sent."""

    __slots__ = ("_afterwards", "_made", "_part", "_runner", "_scheduled")

    def __init__(self, hub: Hub, runner: Runner, target: Any, inbox: Any) -> None:
        super().__init__(hub, target, inbox)
        if inbox is not target:
            inbox.owner = self
        self._runner = runner
        #: Bytes to make before they are sent: a client that has room takes so many.
        self._part = min(PART, int(target.limit // 2))
        #: Whether the pool will work for it, or does.
        self._scheduled = False
        #: What was made, and is to be sent.
        self._made: list[Batch] = []
        #: What is to be done after the application's code, while that works.
        self._afterwards: list[Callable[[], None]] | None = None

    # -- what a stream asks of its source ----------------------------------------------------------

    def open(self) -> None:
        # Until the stream has begun, its own thread waits for what happens to the inbox.
        self.inbox.wake = self.target.notify
        super().open()

    def client_closed(self, ending: Ending) -> None:
        self.inbox.close(ending)

    def when_idle(self, do: Callable[[], None]) -> None:
        afterwards = self._afterwards
        if afterwards is None:
            do()
            return
        afterwards.append(do)
        if self._afterwards is None:
            # Another thread has gone on meanwhile, and perhaps overlooked this.
            _do(afterwards)

    # -- what the inbox tells its owner ------------------------------------------------------------

    def dropped(self, count: int) -> None:
        self.hub.reports.dropped(count)

    # -- the work ----------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether there is something to make; asked under threads."""
        return False

    @property
    def seconds_left(self) -> float | None:
        """How long the producer may rest, if nothing arrives; None: for ever."""
        return None

    def schedule(self) -> None:
        """See to it that somebody works for this producer."""
        if not concurrency.patched():
            self.target.notify()
        elif not self._scheduled:
            self._scheduled = True
            self.hub.pool.add(self)

    def work(self) -> bool:
        """Make a part of what there is to make; say whether it is to be sent."""
        self._afterwards = []
        try:
            return self._work()
        finally:
            self._rest()

    def _rest(self) -> None:
        """Do what the application's code has kept waiting."""
        afterwards, self._afterwards = self._afterwards, None
        if afterwards:
            _do(afterwards)

    def _work(self) -> bool:
        raise NotImplementedError

    def send(self) -> bool:
        """Send what was made; say whether there is more to make."""
        raise NotImplementedError

    def fail(self) -> None:
        """End the client, because the work cannot go on; it may come back."""
        self.target.close(endings.FAILED, last=self.hub.farewell(endings.FAILED))

    def _flush(self) -> None:
        """Send what was made so far, in as few writes as its control frames allow."""
        made, self._made = self._made, []
        for batch in joined(made):
            if isinstance(batch, Loss):
                self.target.lose(batch)
            else:
                self.target.offer(batch)

    def _end(self, position: Position | None) -> None:
        """End for good, because the application's code said so."""
        last = control.end(position if self.target.numbered else None)
        self.target.close(endings.ENDED, last=last)
        self.inbox.close(endings.ENDED)


class Callback(Producer):
    """Calls a function for each message, and sends what the function makes of it."""

    __slots__ = ("_begun", "_callback", "_reached", "_todo", "_turn", "position")

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        target: Any,
        inbox: Any,
        callback: OnMessage,
        *,
        turn: float = TURN / 2,
    ) -> None:
        super().__init__(hub, runner, target, inbox)
        self._callback = callback
        #: Seconds of one part: half of the pool's turn, so that a flooded client lets a quiet one
        #: run; more where it is written to many clients.
        self._turn = turn
        self._begun = False
        #: What was taken from the inbox: messages, and control frames as batches.
        self._todo: Iterator[Message | Batch] | None = None
        #: How far the callback has come, and how far what was sent.
        self._reached: Position | None = None
        self.position: Position | None = None

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        self._begun = True
        self.inbox.wake = self.schedule
        self.inbox.start(floor, history)

    def close(self, ending: Ending, last: Batch | None) -> bool:
        if self._begun and not self.inbox.idle and self.inbox.close(ending, last=last):
            return True
        # Nothing waits; or this is asked again, because the process ends.
        first = self.inbox.closed is None
        return super().close(ending, last) and first

    def client_drained(self) -> None:
        if self._begun:
            self.schedule()

    def closed(self, ending: Ending) -> None:
        # What is readable ends the target when all before it has been made.
        if not ending.readable or not self._begun:
            self.target.close(ending, last=self.hub.farewell(ending))

    @property
    def has_work(self) -> bool:
        waits = self._todo is not None or self.inbox.has_news
        return bool(waits and self.target.has_room)

    def _work(self) -> bool:
        made = False
        try:
            made = self._begun and self.target.closed is None and self.target.has_room
            made = made and self._take()
            if made:
                self._make()
        finally:
            self._scheduled = made
        return made

    def send(self) -> bool:
        # First the position: a client that joins a group in the midst of this begins after it.
        self.position = self._reached or self.position
        self._flush()
        if self._runner.ended:
            self._end(self.position)
        elif self._todo is None:
            self.inbox.commit()
        self._scheduled = self._todo is not None or self.inbox.has_news
        return self._scheduled

    def render(self, messages: Iterable[Message], runner: Runner) -> Batch:
        """Make of messages what the callback makes of them, for one member of a group alone."""
        made: list[Message] = []
        turn = concurrency.Turn()
        for message in messages:
            turn.maybe_rest()
            if not runner.ended:
                rendered = runner.render(self._callback, message, numbered=self.target.numbered)
                made += rendered.messages
        return Batch(made)

    def _take(self) -> bool:
        """Take what has come, if there is nothing to do yet; say whether there is."""
        if self._todo is None:
            try:
                batches = self.inbox.take(0)
            except SubscriptionClosed:
                self.target.close(self.inbox.closed)
                return False
            if not batches:
                return False
            self._todo = iter([item for b in batches for item in b.messages or (b,)])
        return True

    def _make(self) -> None:
        """Call the callback for what there is to do, until the turn is over."""
        assert self._todo is not None
        until = time.monotonic() + self._turn
        numbered, part = self.target.numbered, self._part
        size = 0
        for item in self._todo:
            if isinstance(item, Batch):
                # It is not for the callback: a `reset`, a farewell.
                self._made.append(item)
                if isinstance(item, Loss):
                    self._reached = item.restart or self._reached
                continue
            self._reached = item.id or self._reached
            if item.channel.startswith(PRESENCE):
                made = Batch([item])
            else:
                made = self._runner.render(self._callback, item, numbered=numbered)
            if made.size:
                self._made.append(made)
                size += made.size
            if self._runner.ended or size >= part or time.monotonic() >= until:
                break
        else:
            self._todo = None


def _do(what: list[Callable[[], None]]) -> None:
    """Do what nobody else does yet; not in this greenlet, as others wait for it to go on."""
    with contextlib.suppress(IndexError):
        while True:
            concurrency.soon(what.pop())
