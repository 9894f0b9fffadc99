"""Redis and Valkey.

Reading and everything else never share a connection: a feed owns one of its own, outside every
pool; publishing and replays use a small pool of ours.  The application's own client is untouched,
also when it is given: then only its settings are taken.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import resources
from typing import Any, NamedTuple, TypeVar

import redis
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError

from ..channels import Channel
from ..concurrency import Deadline, backoff
from ..exceptions import BrokerError
from ..wire import Message, Position
from .base import Held, Snapshot, snapshot
from .connections import REFUSED, UNREACHABLE, broker_error, connection_settings, translated
from .feed import RedisFeed

T = TypeVar("T")

#: Seconds within which a publish or a replay succeeds, or raises.
PATIENCE = 10.0
#: Connections for publishing and replays, at most; further calls wait for one.
CONNECTIONS = 16


class _Outgoing(NamedTuple):
    channel: str
    frame: bytes
    persist: bool
    key: str | None
    #: Names this message, over all attempts to send it.
    nonce: str


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
        outgoing = _Outgoing(channel, frame, persist, key, secrets.token_hex(8))
        command = self._command(outgoing)

        def publish(client: redis.Redis, attempt: int) -> Any:
            return _execute(client, command(attempt))

        return self._id(self._call(publish, tries=self._tries(persist)))

    def publish_many(
        self, messages: Iterable[tuple[str, bytes]], *, persist: bool = True
    ) -> list[Position | None]:
        nonce = secrets.token_hex(8)
        commands = [
            self._command(_Outgoing(channel, frame, persist, None, f"{nonce}{number}"))
            for number, (channel, frame) in enumerate(messages)
        ]

        def publish(client: redis.Redis, attempt: int) -> list[Any]:
            return _execute_many(client, [command(attempt) for command in commands])

        return [self._id(reply) for reply in self._call(publish, tries=self._tries(persist))]

    def _command(self, outgoing: _Outgoing) -> Callable[[int], list[Any]]:
        """Return what makes the command for each attempt at a message."""
        channel, frame, persist, key, nonce = outgoing
        tail = f" {key}" if key else ""
        topic = self._prefix + channel
        if not self.numbered:
            return lambda attempt: ["PUBLISH", topic, f":- -{tail}\n".encode() + frame]
        ttl = int(self.history_ttl * 1000)
        names = ("clock", "channels", "history:" + channel, "repeated:" + nonce)
        keys = [self._key(name) for name in names]
        args = [channel, topic, frame, self._keep, ttl, int(persist), tail, nonce]
        return lambda attempt: [
            "EVALSHA",
            _sha("publish"),
            len(keys),
            *keys,
            *args,
            int(attempt > 0),
        ]

    def _tries(self, persist: bool) -> int | None:
        # What is not kept leaves no nonce to recognise a repetition by: better once than twice.
        return None if persist and self.numbered else 1

    def _id(self, reply: Any) -> Position | None:
        return Position.parse(reply) if self.numbered else None

    def replay(
        self,
        channels: Collection[Channel],
        *,
        after: Position | None = None,
        last: int = 0,
        witness: Message | None = None,
    ) -> Snapshot:
        names = [channel.name for channel in channels if not channel.pattern]
        patterns = [channel.name for channel in channels if channel.pattern]
        keys = [self._key("clock"), self._key("channels")]
        cursor = str(after) if after else ""
        seen = (witness.channel, str(witness.id)) if witness else ("", "")
        args = [self._key("history:"), cursor, last, *seen, len(names), *names, *patterns]
        command = ["EVALSHA", _sha("replay"), len(keys), *keys, *args]
        clock, created, now, forked, found = self._call(lambda client, _: _execute(client, command))
        return snapshot(
            _position(clock),
            [_held(*one) for one in found],
            created=_position(created),
            horizon=Position(int(now) - int(self.history_ttl * 1000)),
            forked=Position.parse(forked),
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
            except (*UNREACHABLE, ReadOnlyError) as error:
                # After a failover the pooled connections lead to a master that is one no more.
                client.connection_pool.disconnect(inuse_connections=False)
                attempt += 1
                if attempt == tries or deadline.passed or isinstance(error, REFUSED):
                    raise broker_error(error) from error
            except RedisError as error:
                raise broker_error(error) from error
            time.sleep(backoff(attempt))


@functools.cache
def _script(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


@functools.cache
def _sha(name: str) -> str:
    return hashlib.sha1(_script(name).encode()).hexdigest()


def _execute(client: redis.Redis, command: Sequence[Any]) -> Any:
    """Execute a command; load the script it runs where the server does not have it (yet)."""
    try:
        return client.execute_command(*command)  # type: ignore[no-untyped-call]
    except NoScriptError:
        for name in ("publish", "replay"):
            client.script_load(_script(name))
        return client.execute_command(*command)  # type: ignore[no-untyped-call]


def _execute_many(client: redis.Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Execute commands in one round trip; again those for which the script was not there."""
    with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        replies = pipeline.execute(raise_on_error=False)
    unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        client.script_load(_script("publish"))
        again = _execute_many(client, [commands[index] for index in unknown])
        for index, reply in zip(unknown, again, strict=True):
            replies[index] = reply
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


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
