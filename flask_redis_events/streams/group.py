"""`shared=True`: application code that does not depend on the client runs once for all of them.

The first client of a key makes the group and its producer; the last one ends them.  A group stands
in the place of a producer's one client, and all its members write the same bytes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable

from .. import concurrency, endings
from ..channels import Channel
from ..clients import Audience, Subscription
from ..endings import Ending
from ..hub import Hub
from ..wire import PART, Batch, Position
from ..wire.control import Loss
from .callbacks import Runner
from .producer import Callback, Producer
from .source import Source

log = logging.getLogger("flask_redis_events")


class Group:
    """The clients of one producer in this worker: its target in place of a single client."""

    limit = PART * 2
    #: It has nothing to resume on, where its producer is a poll.
    channels: frozenset[Channel] = frozenset()

    def __init__(self, hub: Hub, make: Callable[[Group], Producer], *, numbered: bool) -> None:
        self.hub = hub
        self.numbered = numbered
        #: Why it has ended, and takes no more members; or None.
        self.closed: Ending | None = None
        self._members = Audience()
        # Guards the last value, and who gets it.
        self._guard = concurrency.guard()
        self._last: Batch | None = None
        self._farewell: Batch | None = None
        self._woken = threading.Event()
        self.producer = make(self)
        self._begun = not self.producer.channels

    # -- what its producer asks of a target --------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether anybody is there; who falls behind has a backlog of its own."""
        return self._members.has_members

    def offer(self, batch: Batch) -> None:
        """Offer a batch to every member."""
        if not batch.messages:
            # The farewell, which is said when the group closes: to members that are held, too.
            self._farewell = batch
            return
        with self._guard:
            if not self.producer.channels:
                # A newcomer of a poll gets the last value at once.
                self._last = batch
            self._members.offer(batch)

    def lose(self, loss: Loss) -> None:
        """Tell of a loss; each member judges by its own position whether it missed something."""
        self._members.lose(loss)

    def close(self, ending: Ending, *, last: Batch | None = None) -> bool:
        """End every member, and the producer; say whether this call did it."""
        if self.closed is not None:
            return False
        self.closed = ending
        self._members.close(ending, last=last or self._farewell)
        self.producer.inbox.close(ending)
        self._woken.set()
        return True

    def notify(self) -> None:
        """Begin, once Redis has acknowledged the channels; later, wake the producer's thread."""
        if not self._begun and self.producer.inbox.live:
            self._begun = True
            self.producer.begin(self.producer.inbox.floor, ())
            for member in self._members:
                self._go_live(member)
        self._woken.set()

    # -- its members -------------------------------------------------------------------------------

    def start(self) -> None:
        """Let the producer listen and work; under threads, in a thread of its own."""
        self.producer.open()
        if not self.producer.channels:
            self.producer.begin(None, ())
        if not concurrency.patched():
            concurrency.spawn("shared", self._work)

    def join(self, member: Subscription) -> None:
        """Let a client have what is made from now on, and the last value of a poll at once."""
        with self._guard:
            self._members.join(member)
            if self._last is not None:
                member.offer(self._last)
        if self.closed is not None:
            # Since the member chose it; there is another one as soon as the member comes back.
            ending = self.closed if self.closed.returns else endings.REPLACED
            member.close(ending, last=self.hub.farewell(ending))
        elif self._begun and self.producer.channels:
            self._go_live(member)

    def release(self, member: Subscription) -> bool:
        """Forget a client; say whether it was the last one."""
        self._members.leave(member)
        return not self._members.has_members

    def stop(self) -> None:
        """Make nothing more."""
        self.close(endings.UNUSED)
        self.producer.leave()

    def _go_live(self, member: Subscription) -> None:
        # After it has joined: all up to this position was sent before, or reaches the member.
        producer = self.producer
        assert isinstance(producer, Callback)
        reached = producer.position or producer.inbox.floor
        self.hub.let_join(member, producer.inbox, reached)

    def _work(self) -> None:
        while self.closed is None:
            try:
                while self.producer.work() and self.producer.send():
                    pass
            except BaseException:
                log.exception("Working for a shared stream failed.")
                self.producer.fail()
            self._woken.wait(self.producer.seconds_left)
            self._woken.clear()


class Member(Source):
    """A client of a group, which the first client makes."""

    __slots__ = ("_group", "_key", "_make", "_runner")

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        client: Subscription,
        *,
        key: Hashable,
        make: Callable[[], Group],
    ) -> None:
        super().__init__(hub, client, client)
        self._runner = runner
        self._key = key
        self._make = make
        self._group: Group | None = None

    @property
    def _producer(self) -> Producer:
        assert self._group is not None
        return self._group.producer

    @property
    def channels(self) -> frozenset[Channel]:
        return self._producer.channels

    def open(self) -> None:
        # Not before: a HEAD, or a response that is never sent, makes no group.
        self._group = self.hub.shared.join(self._key, self._make, self.target)

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        self.target.start(floor, [self._rendered(batch) for batch in history])

    def _rendered(self, batch: Batch) -> Batch:
        producer = self._producer
        if not batch.messages or not isinstance(producer, Callback):
            return batch
        return producer.render(batch.messages, self._runner)

    def beat(self) -> None:
        self.hub.beat(self.target, self._producer.inbox)

    def leave(self) -> None:
        if self._group is not None:
            self.hub.shared.leave(self._key, self._group, self.target)
