"""Redis and Valkey.  The only module that imports redis-py.

Reading and everything else never share a connection: a feed owns one of its own, outside every
pool; publishing and replays use a small pool of ours.  The application's own client is untouched,
also when it is given: then only its settings are taken.

redis-py's own retries are off throughout.  They would publish twice, reconnect in the wrong
greenlet, and sleep with a `sleep` that was imported before gevent patched it.
"""

from __future__ import annotations

import functools
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from importlib import resources
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ..channels import Channel, escape
from ..concurrency import Deadline, backoff
from ..exceptions import BrokerError, ConfigError
from ..message import Message, Position
from .base import Acknowledgement, Delivery, Held, Pong, Received, Snapshot, snapshot

T = TypeVar("T")

#: Seconds within which a publish or a replay succeeds, or raises.
PATIENCE = 10.0
#: Connections for publishing and replays, at most; further calls wait for one.
CONNECTIONS = 16
#: How many received messages are handed on at once, and how many channels go into one command.
BATCH = 512
#: What redis-py puts into a pool's settings for itself; it means nothing to another pool.
_PRIVATE = ("maint_notifications", "orig_", "himport", "cache", "retry", "event_dispatcher")


class RedisBroker:
    """Publishes with `publish.lua`, reads history with `replay.lua`."""

    def __init__(
        self, url: str, *, prefix: str, history: int, history_ttl: float, client: object = None
    ) -> None:
        self.numbered = history > 0
        self.history_ttl = history_ttl
        self._keep = history
        self._prefix = prefix
        # Kept, as a Sentinel client's pool must live for its connections to find the master.
        self._given = client
        self._connection_class, self._settings = _connection(url, client)
        self._clients: dict[int, redis.Redis] = {}

    def publish(
        self, channel: str, frame: bytes, *, persist: bool = True, key: str | None = None
    ) -> Position | None:
        tail = f" {key}" if key else ""
        topic = self._prefix + channel
        if not self.numbered:
            payload = f":- -{tail}\n".encode() + frame
            self._call(lambda client, _: client.publish(topic, payload), tries=1)
            return None
        keys = [self._key("clock"), self._key("channels"), self._key("history:" + channel)]
        ttl = int(self.history_ttl * 1000)
        nonce = secrets.token_hex(8)
        args = [channel, topic, frame, self._keep, ttl, int(persist), tail, nonce]

        def publish(client: redis.Redis, attempt: int) -> Any:
            return _run(client, "publish", keys, [*args, int(attempt > 0)])

        # What is not kept leaves no nonce to recognise a repetition by: better once than twice.
        return Position.parse(self._call(publish, tries=None if persist else 1))

    def replay(
        self, channels: Collection[Channel], *, after: Position | None = None, last: int = 0
    ) -> Snapshot:
        names = [channel.name for channel in channels if not channel.pattern]
        patterns = [channel.name for channel in channels if channel.pattern]
        keys = [self._key("clock"), self._key("channels")]
        cursor = str(after) if after else ""
        args = [self._key("history:"), cursor, last, len(names), *names, *patterns]
        clock, created, now, found = self._call(
            lambda client, _: _run(client, "replay", keys, args)
        )
        return snapshot(
            _position(clock),
            [_held(*one) for one in found],
            created=_position(created),
            horizon=Position(int(now) - int(self.history_ttl * 1000)),
            after=after,
            last=last,
            patterns=bool(patterns),
        )

    def open(self) -> RedisFeed:
        name = f"redis-events:{os.getpid()}"
        connection = self._connection_class(**{**self._settings, "client_name": name})
        with _translated():
            connection.connect()
        return RedisFeed(connection, self._prefix)

    def close(self) -> None:
        for client in self._clients.values():
            client.connection_pool.disconnect()

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    @property
    def _client(self) -> redis.Redis:
        # One a process; `setdefault` is atomic, and nothing connects when it is made.
        pid = os.getpid()
        if pid not in self._clients:
            pool = redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
                max_connections=CONNECTIONS,
                timeout=PATIENCE,
                connection_class=self._connection_class,
                **self._settings,
            )
            self._clients.setdefault(pid, redis.Redis(connection_pool=pool))
        return self._clients[pid]

    def _call(self, command: Callable[[redis.Redis, int], T], *, tries: int | None = None) -> T:
        """Carry out a command, again and again until it succeeds or the patience ends."""
        client = self._client
        deadline = Deadline(PATIENCE)
        attempt = 0
        while True:
            try:
                return command(client, attempt)
            except (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OSError) as error:
                # After a failover the pooled connections lead to a master that is one no more.
                client.connection_pool.disconnect(inuse_connections=False)
                attempt += 1
                if attempt == tries or deadline.passed:
                    raise _broker_error(error) from error
            except RedisError as error:
                raise _broker_error(error) from error
            time.sleep(backoff(attempt))


class RedisFeed:
    """One dedicated connection in pub/sub mode (RESP2: the same bytes, parsed for less)."""

    def __init__(self, connection: Any, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix.encode()
        self._glob = escape(prefix).encode()
        # Guards writing, and whether it is still allowed: redis-py would connect anew on its own.
        self._lock = threading.Lock()
        self._closed = False
        #: By topic; entries stay when a channel is given up, as messages may still be under way.
        self._channels: dict[tuple[bool, bytes], Channel] = {}

    def subscribe(self, channels: Collection[Channel]) -> None:
        for channel in channels:
            self._channels[channel.pattern, self._topic(channel)] = channel
        self._send("SUBSCRIBE", [c for c in channels if not c.pattern])
        self._send("PSUBSCRIBE", [c for c in channels if c.pattern])

    def unsubscribe(self, channels: Collection[Channel]) -> None:
        self._send("UNSUBSCRIBE", [c for c in channels if not c.pattern])
        self._send("PUNSUBSCRIBE", [c for c in channels if c.pattern])

    def ping(self) -> None:
        with self._lock, _translated():
            self._write("PING")

    def read(self, timeout: float) -> list[Received]:
        replies: list[Any] = []
        with _translated():
            try:
                while len(replies) < BATCH:
                    # Only the first read waits; the next ones take what is here already.
                    replies.append(
                        self._connection.read_response(
                            timeout=0 if replies else timeout, disconnect_on_error=False
                        )
                    )
            except RedisTimeoutError:
                pass
        return [item for item in map(self._understand, replies) if item is not None]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._connection.disconnect()

    def _topic(self, channel: Channel) -> bytes:
        return (self._glob if channel.pattern else self._prefix) + channel.name.encode()

    def _send(self, command: str, channels: Sequence[Channel]) -> None:
        topics = [self._topic(channel) for channel in channels]
        with self._lock, _translated():
            for start in range(0, len(topics), BATCH):
                self._write(command, *topics[start : start + BATCH])

    def _write(self, *words: str | bytes) -> None:
        if self._closed or not self._connection.is_connected:
            raise BrokerError("The connection to Redis was lost.")
        self._connection.send_command(*words, check_health=False)

    def _understand(self, reply: Any) -> Received | None:
        kind = reply[0] if isinstance(reply, list) else reply
        if kind == b"message":
            channel = self._channels.get((False, reply[1]))
            return channel and Delivery(channel, Message.from_payload(channel.name, reply[2]))
        if kind == b"pmessage":
            channel = self._channels.get((True, reply[1]))
            name = reply[2][len(self._prefix) :].decode("utf-8", "replace")
            return channel and Delivery(channel, Message.from_payload(name, reply[3]))
        if kind in (b"subscribe", b"psubscribe"):
            channel = self._channels.get((kind == b"psubscribe", reply[1]))
            return channel and Acknowledgement(channel)
        return Pong() if kind in (b"pong", b"PONG") else None


def _connection(url: str, client: Any) -> tuple[type[Any], dict[str, Any]]:
    """Return what connections are made of, from a URL or from a client that is given."""
    if client is None:
        try:
            given = dict(parse_url(url))  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise ConfigError(
                f"REDIS_EVENTS_URL must be a URL like redis://localhost:6379/0, not {url!r}:"
                f" {error}"
            ) from error
        connection_class = given.pop("connection_class", redis.Connection)
    elif isinstance(client, redis.Redis):
        given = client.connection_pool.connection_kwargs
        connection_class = client.connection_pool.connection_class
    else:
        raise ConfigError(f"redis= takes a redis.Redis client, not {client!r}.")
    settings = {name: value for name, value in given.items() if not name.startswith(_PRIVATE)}
    settings.update(
        protocol=2,
        decode_responses=False,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
    )
    return connection_class, settings


@functools.cache
def _script(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _run(client: redis.Redis, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
    """Run a script by its hash; redis-py loads it when the server does not have it (yet)."""
    return client.register_script(_script(name))(keys=keys, args=args)


def _held(channel: bytes, entries: Sequence[Any], exists: int, latest: bytes) -> Held:
    name = channel.decode("utf-8", "replace")
    messages = [_message(name, *entry) for entry in entries]
    messages.sort(key=lambda message: message.id or Position(0))
    return Held(
        name, messages, exists=bool(exists), latest=Position(int(latest)) if latest else None
    )


def _message(channel: str, id: bytes, fields: Sequence[bytes]) -> Message:
    prev, frame, key = fields[1], fields[3], fields[7]
    return Message.numbered(
        channel,
        frame,
        _position(id),
        prev=Position.parse(prev),
        key=key.decode("utf-8", "replace")[1:] or None,
    )


def _position(text: bytes) -> Position:
    position = Position.parse(text)
    if position is None:
        raise BrokerError(f"Redis holds {text!r} where an id should be; is the prefix ours alone?")
    return position


class _translated:
    """Turn redis-py's errors and the socket's into `BrokerError`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # A read of a connection that was closed beside it may find redis-py half taken apart.
        if isinstance(error, RedisError | OSError | AttributeError):
            raise _broker_error(error) from error


def _broker_error(error: BaseException) -> BrokerError:
    if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
        return BrokerError(
            f"Redis could not be reached: {error}. Check REDIS_EVENTS_URL, and that it runs."
        )
    return BrokerError(f"Redis refused: {error}")
