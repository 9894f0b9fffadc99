"""A callback for each message, between the channels and a client.

A producer has an inbox that listens to the channels, calls the callback for what arrives, and
offers what that makes to its target: one client, or with `shared=True` an audience of them.  Under
gevent the hub's pool works for all producers, so that an idle one holds no greenlet; under threads
the stream's own thread does.

A producer for one client works in step with that client: while the client's backlog is half full,
messages wait in the inbox, where the overflow policy acts on them, as messages have ids and keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .. import concurrency, endings
from ..clients import Audience, Subscription
from ..concurrency import TURN
from ..endings import Ending
from ..exceptions import SubscriptionClosed
from ..hub import Hub
from ..wire import Batch, Message, Position, control
from ..wire.control import Loss
from .callbacks import Runner, StreamEvent
from .source import Source, joined

OnMessage = Callable[[str, Any, StreamEvent], Any]


class Producer(Source):
    """Calls a callback for each message, and sends one client what the callback makes."""

    #: Seconds of one part: half of the pool's turn, so that a flooded client lets a quiet one run.
    _turn = TURN / 2

    __slots__ = (
        "_begun",
        "_callback",
        "_made",
        "_numbered",
        "_position",
        "_runner",
        "_scheduled",
        "_target",
        "_todo",
    )

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        callback: OnMessage,
        *,
        client: Subscription,
        inbox: Subscription,
        target: Subscription | Audience | None = None,
    ) -> None:
        super().__init__(hub, client, inbox)
        inbox.owner = self
        self._runner = runner
        self._callback = callback
        self._target = target or client
        self._numbered = inbox.numbered
        self._begun = False
        #: Whether the pool will work for it, or does.
        self._scheduled = False
        #: What was taken from the inbox: messages, and control frames as batches.
        self._todo: Iterator[Message | Batch] | None = None
        #: What was made of it, and is to be sent.
        self._made: list[Batch] = []
        #: How far the callback has come.
        self._position: Position | None = None

    # -- what a stream asks of its source ----------------------------------------------------------

    def open(self) -> None:
        # Until the stream has begun, its own thread waits for what happens to the inbox.
        self.inbox.wake = self.client.notify
        super().open()

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        self._begun = True
        self.inbox.wake = self.schedule
        self.inbox.start(floor, history)

    def close(self, ending: Ending, last: Batch | None) -> bool:
        if self._begun and not self.inbox.idle and self.inbox.close(ending, last=last):
            return True
        # Nothing waits; or this is asked again, because the process ends.
        first = self.inbox.closed is None
        return self.client.close(ending, last=last) and first

    def client_closed(self, ending: Ending) -> None:
        self.inbox.close(ending)

    def client_drained(self) -> None:
        if self._begun:
            self.schedule()

    # -- what the inbox tells its owner ------------------------------------------------------------

    def closed(self, ending: Ending) -> None:
        # What is readable ends the target when all before it has been made.
        if not ending.readable or not self._begun:
            self._target.close(ending, last=self.hub.farewell(ending))

    def dropped(self, count: int) -> None:
        self.hub.reports.dropped(count)

    # -- the work ----------------------------------------------------------------------------------

    def schedule(self) -> None:
        """See to it that somebody works for this producer."""
        if not concurrency.patched():
            self.client.notify()
        elif not self._scheduled:
            self._scheduled = True
            self.hub.pool.add(self)

    @property
    def has_work(self) -> bool:
        return (self._todo is not None or self.inbox.has_news) and self.client.has_room

    def work(self) -> bool:
        made = False
        try:
            made = self._begun and self._is_wanted and self._take()
            if made:
                self._make()
        finally:
            self._scheduled = made
        return made

    def send(self) -> bool:
        made, self._made = self._made, []
        for batch in made:
            self._pass_on(batch)
        if self._runner.ended:
            self._end()
        elif self._todo is None:
            self.inbox.commit()
        self._scheduled = self._todo is not None or self.inbox.has_news
        return self._scheduled

    @property
    def _is_wanted(self) -> bool:
        """Whether the target takes what is made now."""
        return self.client.closed is None and self.client.has_room

    def _take(self) -> bool:
        """Take what has come, if there is nothing to do yet; say whether there is."""
        if self._todo is None:
            try:
                batches = self.inbox.take(0)
            except SubscriptionClosed:
                assert self.inbox.closed is not None
                self._target.close(self.inbox.closed)
                return False
            if not batches:
                return False
            self._todo = iter([item for b in batches for item in b.messages or (b,)])
        return True

    def _make(self) -> None:
        """Call the callback for what there is to do, until the turn is over."""
        assert self._todo is not None
        until = time.monotonic() + self._turn
        part: list[Batch] = []
        size = 0
        for item in self._todo:
            if isinstance(item, Batch):
                # It is not for the callback: a `reset`, a farewell.
                self._made += [*joined(part), item]
                part = []
                if isinstance(item, Loss):
                    self._position = item.restart or self._position
                continue
            self._position = item.id or self._position
            made = self._runner.render(self._callback, item, numbered=self._numbered)
            if made.size:
                part.append(made)
                size += made.size
            if self._runner.ended or size >= self._part or time.monotonic() >= until:
                break
        else:
            self._todo = None
        self._made += joined(part)

    def _pass_on(self, batch: Batch) -> None:
        if isinstance(batch, Loss):
            self._target.lose(batch)
        else:
            self._target.offer(batch)

    def _end(self) -> None:
        """End for good, because the callback said so."""
        last = control.end(self._position if self._numbered else None)
        self._target.close(endings.ENDED, last=last)
        self.inbox.close(endings.ENDED)
