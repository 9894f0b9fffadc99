"""`shared=True`: a callback that does not depend on the client runs once for each message.

A relay stands between the channels and the clients of one such stream: it hears the channels like a
client, calls the callback, and offers the outcome to all its members, as a channel of its own that
only this worker knows.  Its members write the same bytes, and are handed off like plain streams.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from .. import concurrency
from ..channels import Channel, local_channel
from ..clients.subscription import Subscription
from ..concurrency import backoff
from ..exceptions import BrokerError, SubscriptionClosed
from ..options import Options
from ..wire import control
from ..wire.message import Batch, Message, Position
from .callbacks import Runner
from .channel_stream import ChannelStream, OnMessage
from .resume import begin


class Relay:
    """One callback for all clients of a stream in this worker."""

    def __init__(
        self, runner: Runner, channels: frozenset[Channel], callback: OnMessage, options: Options
    ) -> None:
        self.channel = local_channel()
        # If the callback is too slow for its channels, all members are told what is missing.
        self.inbox = Subscription(channels, limit=options.buffer, overflow="drop", held=True)
        self.channels = channels
        self._runner = runner
        self._callback = callback
        self._numbered = options.history and runner.hub.broker.numbered
        self._waiting: set[Subscription] = set()
        #: How far the members have come.
        self._position: Position | None = None
        self._begun = False

    def start(self) -> None:
        """Listen, in a greenlet of its own."""
        self.inbox.on_drop = self._runner.hub.report_dropped
        self._runner.hub.listen(self.inbox)
        concurrency.spawn("relay", self._run)

    def join(self, member: Subscription) -> None:
        """Let a member begin where the relay is."""
        hub = self._runner.hub
        with hub.lock:
            hub.listen(member)
            over = "relay ended" if self._runner.ended else self.inbox.closed
            if over is not None:
                # Since the member's choice of it: there is another one soon.
                member.close(over, last=hub.farewell(over))
                return
            if self._begun:
                self._begin(member)
            else:
                self._waiting.add(member)

    def _begin(self, member: Subscription) -> None:
        # Everything after the relay's last message is still to come through it.
        member.go_live(self._position)

    def _run(self) -> None:
        inbox, hub = self.inbox, self._runner.hub
        inbox.live.wait()
        beginning = self._position = self._beginning()
        with hub.lock:
            inbox.start(beginning)
            if inbox.closed is None:
                self._begun = True
                for member in self._waiting:
                    self._begin(member)
            self._waiting.clear()
        try:
            while not self._runner.ended:
                self._pass_on(inbox.take())
        except SubscriptionClosed:
            pass
        finally:
            inbox.close("ended")
            hub.leave(inbox)
            with hub.lock:
                # Who is left when it ends for a reason of its own is to come back.
                reason = inbox.closed or "ended"
                hub.dismiss(self.channel, reason, last=hub.farewell(reason))

    def _beginning(self) -> Position | None:
        while self.inbox.closed is None:
            try:
                return begin(self._runner.hub, self.inbox, self.channels).position
            except BrokerError:
                time.sleep(backoff(3))
        return self.inbox.floor

    def _pass_on(self, batches: list[Batch]) -> None:
        hub = self._runner.hub
        for batch in batches:
            rendered = Batch(self.render(self._runner, batch.messages))
            with hub.lock:
                if isinstance(batch, control.Loss):
                    hub.lose(self.channel, batch)
                elif rendered.size:
                    hub.spread(self.channel, rendered)
                self._position = batch.position or self._position
                if self._runner.ended:
                    last = control.end(self._position if self._numbered else None)
                    hub.dismiss(self.channel, "ended", last=last)
                    return
            # Members whose sockets take it are not to fall behind over what has piled up here.
            concurrency.let_others_run()
        self.inbox.commit()

    def render(self, runner: Runner, messages: tuple[Message, ...]) -> Iterator[Message]:
        """Yield what the callback makes of messages, each with its message's id."""
        for message in messages:
            if runner.ended:
                return
            id = message.id if self._numbered else None
            frames = runner.call(
                self._callback,
                message.channel,
                message.value,
                runner.event,
                position=id,
                name=message.event,
            )
            if frames:
                yield Message(message.channel, frames, id=id, key=message.key)


class Relays:
    """The relays of one worker, by key; each lives while it has members."""

    def __init__(self) -> None:
        # Guards both.
        self._lock = threading.Lock()
        self._relays: dict[Hashable, Relay] = {}
        self._members: dict[Hashable, int] = {}

    def join(self, key: Hashable, make: Callable[[], Relay]) -> Relay:
        """Return the relay of a key; the first one who asks makes it, and starts it."""
        with self._lock:
            relay = self._relays.get(key)
            if relay is None or relay.inbox.closed is not None:
                relay = self._relays[key] = make()
                self._members[key] = 0
                relay.start()
            self._members[key] += 1
            return relay

    def leave(self, key: Hashable, relay: Relay) -> None:
        """Count one member less; the last one ends the relay."""
        with self._lock:
            if self._relays.get(key) is relay:
                self._members[key] -= 1
                if not self._members[key]:
                    del self._relays[key], self._members[key]
                    relay.inbox.close("no members")


class SharedStream(ChannelStream):
    """A member of a relay."""

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        environ: dict[str, Any],
        *,
        relays: Relays,
        key: Hashable,
        make: Callable[[], Relay],
    ) -> None:
        super().__init__(runner, mailbox, options, environ)
        self._relays = relays
        self._key = key
        self._make = make
        self._relay: Relay | None = None

    @property
    def shareable(self) -> bool:
        return True

    @property
    def source(self) -> Subscription:
        return self._relay.inbox if self._relay is not None else self.mailbox

    def _listen(self) -> None:
        self._relay = self._relays.join(self._key, self._make)
        self.release = functools.partial(self._relays.leave, self._key, self._relay)
        self.mailbox.channels = frozenset({self._relay.channel})
        self._relay.join(self.mailbox)

    def _prepare(self, batches: list[Batch]) -> list[Batch]:
        """Make what the callback makes of history, for this client alone."""
        assert self._relay is not None
        made = [
            Batch(self._relay.render(self.runner, batch.messages)) if batch.messages else batch
            for batch in batches
        ]
        # A callback may skip all there is.
        return [batch for batch in made if batch.size]
