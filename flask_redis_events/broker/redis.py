"""Redis and Valkey.

Reading and everything else never share a connection: a feed owns one of its own, outside every
pool; publishing and replays use a small pool of ours.  The application's own client is untouched,
also when it is given: then only its settings are taken.
"""

from __future__ import annotations

import functools
import os
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from importlib import resources
from typing import Any, TypeVar

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..channels import Channel
from ..concurrency import Deadline, backoff
from ..exceptions import BrokerError
from ..message import Message, Position
from .base import Held, Snapshot, snapshot
from .connections import broker_error, connection_settings, translated
from .feed import RedisFeed

T = TypeVar("T")

#: Seconds within which a publish or a replay succeeds, or raises.
PATIENCE = 10.0
#: Connections for publishing and replays, at most; further calls wait for one.
CONNECTIONS = 16


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
        self._connection_class, self._settings = connection_settings(url, client)
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
        ttl = int(self.history_ttl * 1000)
        nonce = secrets.token_hex(8)
        names = ("clock", "channels", "history:" + channel, "repeated:" + nonce)
        keys = [self._key(name) for name in names]
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
        with translated():
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
                    raise broker_error(error) from error
            except RedisError as error:
                raise broker_error(error) from error
            time.sleep(backoff(attempt))


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
