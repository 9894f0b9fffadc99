"""`shared=True`: application code that does not depend on the client runs once for all of them.

The code's producer offers what it makes to an audience, all of whose members write the same bytes.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from .. import concurrency, endings
from ..channels import Channel
from ..clients import Audience, Subscription
from ..concurrency import TURN, backoff
from ..exceptions import BrokerError
from ..hub import Hub
from ..wire import Batch, Message, Position
from .callbacks import Runner
from .poll import OnPoll, Poll
from .producer import OnMessage, Producer
from .resume import begin_at_once, begin_from_redis
from .source import Source

log = logging.getLogger("flask_redis_events")


class SharedProducer(Producer):
    """One callback for all clients of a stream in this worker."""

    #: Seconds of one part: it is written to many clients, and should be worth that.
    _turn = TURN * 4

    __slots__ = ("_audience", "_guard", "_reached", "_woken")

    def __init__(
        self, hub: Hub, runner: Runner, callback: OnMessage, *, inbox: Subscription
    ) -> None:
        self._audience = Audience()
        super().__init__(hub, runner, callback, client=inbox, inbox=inbox, target=self._audience)
        # Guards how far the members have come, and who they are.
        self._guard = concurrency.guard()
        self._reached: Position | None = None
        self._woken = threading.Event()
        inbox.wake = self._woken.set

    @property
    def over(self) -> bool:
        """Whether it makes nothing more, and takes no more members."""
        return self._runner.ended or self.inbox.closed is not None

    def start(self) -> None:
        """Listen, and work."""
        self.hub.listen(self.inbox)
        concurrency.spawn("shared", self._run)

    def stop(self) -> None:
        """Make nothing more."""
        self.inbox.close(endings.UNUSED)
        self.hub.unlisten(self.inbox)

    def join(self, member: Subscription) -> None:
        """Let a member begin where the producer is."""
        with self._guard:
            if self.over:
                # Since the member chose it; there is another one as soon as the member comes back.
                ending = self.inbox.closed or endings.REPLACED
                member.close(ending, last=self.hub.farewell(ending))
                return
            self._audience.join(member)
            if self._begun:
                member.go_live(self._reached)

    def release(self, member: Subscription) -> bool:
        """Forget a member; say whether it was the last one."""
        with self._guard:
            self._audience.leave(member)
            return not self._audience.has_members

    def render(self, messages: Iterable[Message], runner: Runner) -> Batch:
        """Make of messages what the callback makes of them, for one member alone."""
        made: list[Message] = []
        for message in messages:
            if not runner.ended:
                made += runner.render(self._callback, message, numbered=self._numbered).messages
        return Batch(made)

    def schedule(self) -> None:
        if concurrency.patched():
            super().schedule()
        else:
            self._woken.set()

    def fail(self) -> None:
        last = self.hub.farewell(endings.FAILED)
        self.inbox.close(endings.FAILED)
        self._audience.close(endings.FAILED, last=last)

    def _run(self) -> None:
        """Find the beginning; then, under threads, work here, because there is no pool."""
        try:
            self._begin_and_work()
        except BaseException:
            log.exception("A shared stream failed.")
            self.fail()

    def _begin_and_work(self) -> None:
        while not (self.inbox.live or self.inbox.closed):
            self._woken.wait()
            self._woken.clear()
        position = self._beginning()
        with self._guard:
            self._reached = self._position = position
            self.begin(position, ())
            for member in self._audience:
                member.go_live(position)
        if not concurrency.patched():
            _drive(self, self._woken)

    def _beginning(self) -> Position | None:
        asked = self.hub, self.inbox, self.channels
        while self.inbox.closed is None:
            try:
                found = begin_at_once(*asked) or begin_from_redis(*asked)
                return found.floor
            except BrokerError:
                time.sleep(backoff(3))
        return self.inbox.floor

    @property
    def _is_wanted(self) -> bool:
        # A member that falls behind has a backlog of its own; nobody waits for it.
        return self._audience.has_members and not self._runner.ended

    def send(self) -> bool:
        with self._guard:
            # First the position: whoever joins in the midst of this begins after it.
            self._reached = self._position
            return super().send()


class SharedPoll(Poll):
    """One function for all clients of a poll in this worker.

    A newcomer gets the last value at once.
    """

    __slots__ = ("_audience", "_guard", "_latest", "_stopped", "_woken")

    def __init__(self, hub: Hub, runner: Runner, function: OnPoll, interval: float) -> None:
        self._audience = Audience()
        nobody = Subscription()
        super().__init__(hub, runner, function, interval, client=nobody, target=self._audience)
        # Guards the last value, and who gets it.
        self._guard = concurrency.guard()
        self._latest: Batch | None = None
        self._stopped = False
        self._woken = threading.Event()

    @property
    def over(self) -> bool:
        return self._stopped or self._runner.ended

    def start(self) -> None:
        """Call the function, now and again."""
        self.begin(None, ())
        if not concurrency.patched():
            concurrency.spawn("shared", functools.partial(_drive, self, self._woken))

    def stop(self) -> None:
        """Call it no more."""
        self._stopped = True
        self._woken.set()

    def fail(self) -> None:
        self.stop()
        self._audience.close(endings.FAILED, last=self.hub.farewell(endings.FAILED))

    def join(self, member: Subscription) -> None:
        """Let a member have every value from now on, and the last one at once."""
        with self._guard:
            if self.over:
                # Since the member chose it; there is another one as soon as the member comes back.
                member.close(endings.REPLACED, last=self.hub.farewell(endings.REPLACED))
                return
            self._audience.join(member)
            if self._latest is not None:
                member.offer(self._latest)

    def release(self, member: Subscription) -> bool:
        """Forget a member; say whether it was the last one."""
        with self._guard:
            self._audience.leave(member)
            return not self._audience.has_members

    def schedule(self) -> None:
        if concurrency.patched():
            super().schedule()

    def send(self) -> bool:
        with self._guard:
            self._latest = self._made or self._latest
            return super().send()


def _drive(producer: SharedProducer | SharedPoll, woken: threading.Event) -> None:
    """Work for a producer in a thread of its own, until it is over."""
    while True:
        try:
            while producer.work() and producer.send():
                pass
        except BaseException:
            log.exception("Working for a shared stream failed.")
            producer.fail()
        if producer.over:
            return
        woken.wait(producer.seconds_left)
        woken.clear()


class Member(Source):
    """A client of a producer that this worker's clients share; the first one makes it."""

    __slots__ = ("_key", "_make", "_producer", "_runner")

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        client: Subscription,
        *,
        key: Hashable,
        make: Callable[[], SharedProducer | SharedPoll],
    ) -> None:
        super().__init__(hub, client, client)
        self._runner = runner
        self._key = key
        self._make = make
        self._producer: Any = None

    @property
    def channels(self) -> frozenset[Channel]:
        return self._producer.inbox.channels  # type: ignore[no-any-return]

    @property
    def progress(self) -> Subscription:
        return self._producer.inbox  # type: ignore[no-any-return]

    def open(self) -> None:
        # Not before: a HEAD, or a response that is never sent, makes no producer.
        self._producer = self.hub.shared.join(self._key, self._make, self.client)

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        made = [
            self._producer.render(batch.messages, self._runner) if batch.messages else batch
            for batch in history
        ]
        self.client.start(floor, made)

    def leave(self) -> None:
        if self._producer is not None:
            self.hub.shared.leave(self._key, self._producer, self.client)
