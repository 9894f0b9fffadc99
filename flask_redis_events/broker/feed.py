"""The reading end of Redis: one dedicated connection in pub/sub mode, outside every pool.

The feed turns channels into SUBSCRIBE commands and Redis' replies into messages.  It never
reconnects, because only the reader knows which channels a new connection must subscribe to.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from redis.exceptions import NoPermissionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..channels import Channel, escape
from ..exceptions import BrokerError
from ..wire.message import Message
from .base import Acknowledgement, Delivery, Pong, Received, Refusal
from .connections import translated
from .stamps import Stamps
from .versions import is_connected, read_reply

#: The most channels in one SUBSCRIBE command.
BATCH = 512
#: The most messages that one `read` returns: reading and fanning them out takes a millisecond or
#: two, after which others have their turn.
READ = 128


class RedisFeed:
    """A `Feed` on one connection of redis-py."""

    def __init__(self, connection: Any, prefix: str, stamps: Stamps) -> None:
        self._connection = connection
        self._prefix = prefix.encode()
        self._stamps = stamps
        self._glob = escape(prefix).encode()
        # Guards writes and `_closed`.  A write first checks that the connection is up, because
        # redis-py would silently reconnect to send it, and the new connection would be subscribed
        # to nothing.
        self._lock = threading.Lock()
        self._closed = False
        #: The channels not yet acknowledged of each SUBSCRIBE command under way, oldest command
        #: first.
        self._asked: deque[list[Channel]] = deque()
        #: The error of a reading that had received something, which is raised by the next one.
        self._failed: BrokerError | None = None

    def subscribe(self, channels: Collection[Channel]) -> None:
        self._send("SUBSCRIBE", [c for c in channels if not c.pattern], answers=self._asked)
        self._send("PSUBSCRIBE", [c for c in channels if c.pattern], answers=self._asked)

    def unsubscribe(self, channels: Collection[Channel]) -> None:
        self._send("UNSUBSCRIBE", [c for c in channels if not c.pattern])
        self._send("PUNSUBSCRIBE", [c for c in channels if c.pattern])

    def ping(self) -> None:
        with self._lock, translated():
            self._write("PING")

    def read(self, timeout: float) -> list[Received]:
        if self._failed is not None:
            raise self._failed
        replies: list[Any] = []
        try:
            with translated():
                self._read(replies, timeout)
        except BrokerError as error:
            if not replies:
                raise
            # What has arrived counts, because Redis sends a transient event only once.
            self._failed = error
        return [item for item in map(self._understand, replies) if item is not None]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._connection.disconnect()

    def _read(self, replies: list[Any], timeout: float) -> None:
        """Append what has arrived to `replies`; what was appended before an error stays there."""
        try:
            while len(replies) < READ:
                # Only the first read waits; later ones take replies that have already arrived.
                replies.append(read_reply(self._connection, 0 if replies else timeout))
        except RedisTimeoutError:
            pass  # Nothing more has arrived.
        except NoPermissionError as error:
            # Redis names the channel if the ACL forbids that; otherwise it forbids the command.
            if "channel" not in str(error):
                raise
            replies.append(error)
        except ValueError as error:
            if not self._closed:
                raise
            # `close` has released the buffer from which redis-py's own parser was reading.
            raise BrokerError("The connection to Redis was closed.") from error

    def _topic(self, channel: Channel) -> bytes:
        """Return the channel's name on Redis; in a pattern, the prefix still stands for itself."""
        return (self._glob if channel.pattern else self._prefix) + channel.name.encode()

    def _channel(self, topic: bytes, *, pattern: bool = False) -> Channel:
        """Return the channel that has a name on Redis."""
        prefix = self._glob if pattern else self._prefix
        return Channel(topic[len(prefix) :].decode(), pattern)

    def _send(
        self,
        command: str,
        channels: Sequence[Channel],
        *,
        answers: deque[list[Channel]] | None = None,
    ) -> None:
        """Write commands of up to `BATCH` channels; note in `answers` what each one asked for."""
        with self._lock, translated():
            for start in range(0, len(channels), BATCH):
                some = list(channels[start : start + BATCH])
                if answers is not None:
                    # Before the write, as the reader may receive the answer at once.
                    answers.append(some)
                self._write(command, *map(self._topic, some))

    def _write(self, *words: str | bytes) -> None:
        if self._closed or not is_connected(self._connection):
            raise BrokerError("The connection to Redis was lost.")
        self._connection.send_command(*words, check_health=False)

    def _understand(self, reply: Any) -> Received | None:
        """Translate one reply; None for one that nobody waits for, as to UNSUBSCRIBE."""
        if isinstance(reply, NoPermissionError):
            return Refusal(self._asked.popleft())
        kind = reply[0] if isinstance(reply, list) else reply
        if kind == b"message":
            channel = self._channel(reply[1])
            return self._deliver(channel, channel.name, reply[1], reply[2])
        if kind == b"pmessage":
            name = reply[2][len(self._prefix) :].decode("utf-8", "replace")
            pattern = self._channel(reply[1], pattern=True)
            return self._deliver(pattern, name, reply[2], reply[3])
        if kind in (b"subscribe", b"psubscribe"):
            return self._acknowledge(self._channel(reply[1], pattern=kind == b"psubscribe"))
        # In pub/sub mode RESP2 answers a ping with a list; before the first SUBSCRIBE, with PONG.
        return Pong() if kind in (b"pong", b"PONG") else None

    def _deliver(self, via: Channel, name: str, topic: bytes, payload: bytes) -> Delivery:
        accept = functools.partial(self._stamps.accept, topic)
        return Delivery(via, Message.from_payload(name, payload, accept))

    def _acknowledge(self, channel: Channel) -> Acknowledgement:
        # Redis answers commands in order, so this acknowledgement belongs to the oldest one.
        self._asked[0].remove(channel)
        if not self._asked[0]:
            self._asked.popleft()
        return Acknowledgement(channel)
