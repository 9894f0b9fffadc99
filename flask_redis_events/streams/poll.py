"""`serverEvent()`: a function that is called again and again, and what it returns is sent.

Each stream calls its own; with `shared`, one producer in each worker calls it for all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from .. import concurrency
from ..channels import local_channel
from ..clients.subscription import Subscription
from ..options import Options
from ..wire import control
from ..wire.message import Batch, Message
from .callbacks import Runner, StreamEvent
from .stream import Stream

#: Seconds after which a shared producer that nobody listens to is forgotten.
IDLE = 60.0

OnPoll = Callable[[StreamEvent], Any]


class PollStream(Stream):
    """Calls `function` at once and then every `interval` seconds, for this client alone."""

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        environ: dict[str, Any],
        *,
        function: OnPoll,
    ) -> None:
        super().__init__(runner, mailbox, options, environ)
        self._function = function

    def _live(self) -> Iterator[bytes]:
        self.begun = True
        yield control.ready(None, retry=self.hub.settings.retry).data + self._opening()
        due = time.monotonic()
        while not self.runner.ended:
            frames = self.runner.call(self._function, self.runner.event)
            if frames:
                yield frames
            due = max(due + self.options.interval, time.monotonic())
            while not self.runner.ended:
                # At least one look at the mailbox, however long the function took.
                waiting = self.mailbox.take(max(0.0, due - time.monotonic()))
                if waiting:
                    yield self._render(waiting)
                if time.monotonic() >= due:
                    break
        self._end(None)
        yield from self._forward()


class SharedPollStream(Stream):
    """Hears what one producer of this worker makes for all streams of the same key."""

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        environ: dict[str, Any],
        *,
        producer: Producer,
    ) -> None:
        super().__init__(runner, mailbox, options, environ)
        self._producer = producer

    @property
    def shareable(self) -> bool:
        return True

    def _live(self) -> Iterator[bytes]:
        self._producer.join(self.mailbox)
        self.release = self._producer.leave
        self.begun = True
        yield control.ready(None, retry=self.hub.settings.retry).data + self._opening()
        yield from self._forward()


class Producer:
    """Calls a function while anybody listens; newcomers get its last value at once."""

    def __init__(self, runner: Runner, function: OnPoll, interval: float) -> None:
        self.channel = local_channel()
        self._runner = runner
        self._function = function
        self._interval = interval
        # The hub's lock guards all below.
        self._members = 0
        self._wanted_at = time.monotonic()
        self._latest: Batch | None = None
        self._running = False
        self._wake = threading.Event()

    @property
    def idle(self) -> bool:
        """Whether nobody has listened for a while; it would work again if somebody did."""
        return self._wanted_at + IDLE < time.monotonic() and not self._members

    def join(self, mailbox: Subscription) -> None:
        """Let a mailbox of the producer's channel hear it from now on."""
        hub = self._runner.hub
        with hub.lock:
            self._members += 1
            hub.listen(mailbox)
            if self._latest is not None:
                mailbox.offer(self._latest)
            if not self._running:
                self._running = True
                self._runner.ended = False
                concurrency.spawn("poll", self._run)

    def leave(self) -> None:
        """Count one member less."""
        with self._runner.hub.lock:
            self._members -= 1
            self._wanted_at = time.monotonic()
            if not self._members:
                self._wake.set()

    def _run(self) -> None:
        hub = self._runner.hub
        due = time.monotonic()
        while True:
            frames = self._runner.call(self._function, self._runner.event)
            with hub.lock:
                if frames:
                    self._latest = Batch([Message("", frames)])
                    hub.spread(self.channel, self._latest)
                if self._runner.ended:
                    hub.dismiss(self.channel, "ended", last=control.end(None))
            due = max(due + self._interval, time.monotonic())
            self._wake.wait(due - time.monotonic())
            with hub.lock:
                self._wake.clear()
                if self._runner.ended and hub.heard(self.channel):
                    # By those who came since then: it begins anew for them.
                    self._runner.ended = False
                if not self._members or self._runner.ended:
                    self._running = False
                    self._latest = None
                    return


class Producers:
    """The shared producers of one worker, by key."""

    def __init__(self) -> None:
        self._producers: dict[Hashable, Producer] = {}

    def get(self, key: Hashable, make: Callable[[], Producer]) -> Producer:
        """Return the producer of a key; the first one who asks makes it."""
        self._forget_idle()
        return self._producers.setdefault(key, make())

    def _forget_idle(self) -> None:
        for key in [key for key, producer in self._producers.items() if producer.idle]:
            del self._producers[key]
