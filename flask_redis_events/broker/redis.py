"""The broker on Redis and Valkey.

A feed never shares its connection: it owns one, outside every pool.  Publishing and replays use a
small pool that belongs to the broker.  The application's own client is never used; if one is
given, only its connection settings are copied.

If the answer to a publish is lost, Redis may or may not have published.  A kept message is then
sent again with the same nonce, by which `publish.lua` recognises it; a transient one is sent only
once.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import resources
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError

from ..channels import Channel
from ..concurrency import Deadline, backoff
from ..exceptions import BrokerError
from ..wire import Message, Position
from .connections import REFUSED, UNREACHABLE, broker_error, connection_settings, translated
from .coverage import Held, Snapshot, snapshot
from .feed import RedisFeed

T = TypeVar("T")

#: Seconds for which a publish or a replay is tried again before it raises.
PATIENCE = 10.0
#: The most connections for publishing and replays; further calls wait until one is free.
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
        # A reference, because the connections of a Sentinel client ask its pool for the master, and
        # refer to that pool weakly.
        self._given = client
        self._connection_class, self._settings = connection_settings(url, client)
        self._clients: dict[int, redis.Redis] = {}

    def publish(
        self, channel: str, frame: bytes, *, persist: bool = True, key: str | None = None
    ) -> Position | None:
        command = self._command(channel, frame, persist, key, nonce=secrets.token_hex(8))

        def publish(client: redis.Redis, attempt: int) -> Any:
            return _execute(client, command(attempt))

        return self._id(self._call(publish, tries=self._tries(persist)))

    def publish_many(
        self, messages: Iterable[tuple[str, bytes]], *, persist: bool = True
    ) -> list[Position | None]:
        nonce = secrets.token_hex(8)
        commands = [
            self._command(channel, frame, persist, None, nonce=f"{nonce}{number}")
            for number, (channel, frame) in enumerate(messages)
        ]

        def publish(client: redis.Redis, attempt: int) -> list[Any]:
            return _execute_many(client, [command(attempt) for command in commands])

        return [self._id(reply) for reply in self._call(publish, tries=self._tries(persist))]

    def _command(
        self, channel: str, frame: bytes, persist: bool, key: str | None, *, nonce: str
    ) -> Callable[[int], list[Any]]:
        """Return a function that makes the command for an attempt: 0 for the first, then 1, …

        `nonce` is the same in all attempts at a message, so that Redis recognises a repetition.
        """
        tail = f" {key}" if key else ""
        topic = self._prefix + channel
        if not self.numbered:
            # Without history there are no ids, so the script and its clock are not needed.
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
        # A transient message leaves no nonce on Redis, so a repetition could not be recognised.
        # Losing it is better than delivering it twice.
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
        # One for each process, because a forked child must not write to its parent's sockets.  Two
        # threads may both make one; `setdefault` is atomic and keeps the first, and the other has
        # not connected.
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
        """Run a command, and again after connection errors until `PATIENCE` is over.

        `tries` limits the attempts.  A refusal is raised at once.
        """
        client = self._client
        deadline = Deadline(PATIENCE)
        attempt = 0
        while True:
            try:
                return command(client, attempt)
            except (*UNREACHABLE, ReadOnlyError) as error:
                # After a failover, idle connections lead to a server that is no master any more.
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
    """Execute a command; load the scripts first if the server does not have the one it runs."""
    try:
        return client.execute_command(*command)  # type: ignore[no-untyped-call]
    except NoScriptError:
        for name in ("publish", "replay"):
            client.script_load(_script(name))
        return client.execute_command(*command)  # type: ignore[no-untyped-call]


def _execute_many(client: redis.Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Execute EVALSHA or PUBLISH commands in one round trip.

    Commands whose script the server did not have are executed again, after loading it.
    """
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
    """Read one of the channels in the reply of `replay.lua`."""
    name = channel.decode("utf-8", "replace")
    messages = [_message(name, *entry) for entry in entries]
    # XREVRANGE, which reads the last few messages, begins with the newest.
    messages.sort(key=lambda message: message.id or Position(0))
    return Held(
        name, messages, exists=bool(exists), latest=Position(int(latest)) if latest else None
    )


def _message(channel: str, id: bytes, fields: Sequence[bytes]) -> Message:
    # Names and values alternate, in the order of XADD in `publish.lua`.
    prev, frame, key = fields[1], fields[3], fields[7]
    return Message.numbered(
        channel,
        frame,
        _position(id),
        prev=Position.parse(prev),
        # The key is kept as the envelope has it, after a space.
        key=key.decode("utf-8", "replace")[1:] or None,
    )


def _position(text: bytes) -> Position:
    position = Position.parse(text)
    if position is None:
        raise BrokerError(
            f"Redis holds {text!r} where an id should be: choose a REDIS_EVENTS_PREFIX that no"
            " other program uses."
        )
    return position
