"""The broker on Redis and Valkey: what to ask of the Lua scripts, and what their answers mean.

A feed never shares its connection: it owns one, outside every pool.  Publishing and replays use a
small pool that belongs to the broker.

If the answer to a call is lost, Redis may or may not have published.  The call is sent again with
the same number, by which `publish.lua` recognises it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..channels import Channel
from ..exceptions import BrokerError
from ..settings import Settings
from ..wire import Message, Position
from .base import Outgoing
from .calls import Slot, in_calls
from .commands import PATIENCE, Commands
from .coverage import Held, Snapshot, is_missing, snapshot, too_much
from .feed import RedisFeed
from .history import Changed, History, Spans, TooMuch, message, read_position
from .index import Index, TooMany
from .limits import LIMITS, StateLimits
from .people import RedisPeople
from .runs import RedisRuns
from .scripts import Scripts
from .stamps import Stamps, new_word
from .states import RedisStates

#: The layout of the keys on Redis, see "On Redis" in `docs/design.rst`.
LAYOUT = "2"
#: How often a replay begins anew before it raises, if Redis is flushed or fails over in its midst.
ATTEMPTS = 5


class RedisBroker:
    """Publishes with `publish.lua`, reads history with `replay.lua`."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        history: int,
        history_ttl: float,
        silence_ttl: float = Settings.silence_ttl,
        secret: str = Settings.secret,
        state: StateLimits = LIMITS,
        client: object = None,
    ) -> None:
        self.numbered = history > 0
        self.history_ttl = history_ttl
        self._prefix = prefix
        self._spans = spans = Spans.of(history_ttl, silence_ttl)
        self._stamps = stamps = Stamps(secret, prefix, self._begin)
        settings: dict[str, str | int] = {
            "PREFIX": prefix,
            "KEEP": str(history),
            "TTL": spans.ttl,
            "SILENCE": spans.silence,
            "GRAIN": spans.grain,
            "DIGITS": spans.digits,
            "INNER": stamps.inner,
            "OUTER": stamps.outer,
        }
        self._commands = commands = Commands(url, client, Scripts(settings))
        self.people = RedisPeople(commands.run, commands.execute, self._key)
        self._states = RedisStates(self._run, commands.execute, self._key, state)
        self.runs = RedisRuns(
            self._run, commands.execute, self._key, commands.slot, self._publishing
        )

    def publish(
        self,
        channel: str,
        frame: bytes,
        *,
        persist: bool = True,
        key: str | None = None,
        keep: str = "",
    ) -> Position | None:
        if keep or not self.numbered:
            return self._publish([Outgoing(channel, frame, key, keep)], persist)[0]
        # Most calls publish one message, and need nothing of what many do.
        with self._commands.slot() as slot:
            keys, arguments = self._publishing(slot, channel, persist=persist)
            return read_position(self._run("publish", keys, [*arguments, 1, _tail(key), frame]))

    def publish_many(
        self, messages: Iterable[Outgoing | tuple[str, bytes]], *, persist: bool = True
    ) -> list[Position | None]:
        given = [Outgoing(*one) for one in messages]
        return [id for some in in_calls(given) for id in self._publish(some, persist)]

    def _publish(self, messages: Sequence[Outgoing], persist: bool) -> list[Position | None]:
        if not self.numbered:
            # Without history there are no ids, so the script and its clock are not needed.  Redis
            # could not recognise a repetition.
            self._commands.execute([self._bare_publish(*one) for one in messages], tries=1)
            return [None] * len(messages)
        numbers: dict[str, int] = {}
        given: list[Any] = []
        keeps = any(one.keep for one in messages)
        for channel, frame, key, _ in messages:
            given += [numbers.setdefault(channel, len(numbers) + 1), _tail(key), frame]
        with self._commands.slot() as slot:
            keys, arguments = self._publishing(slot, *numbers, persist=persist)
            if keeps:
                first = self._states.publish(messages, numbers, keys, [*arguments, *given])
            else:
                first = self._run("publish", keys, [*arguments, *given])
        ms, seq = read_position(first)
        return [Position(ms, seq + number) for number in range(len(messages))]

    def _publishing(
        self, slot: Slot, *channels: str, persist: bool = True
    ) -> tuple[list[str], list[Any]]:
        """Return the keys and arguments of `publish.lua` for one call, without the messages."""
        prefix = self._prefix
        keys = [f"{prefix}ids", f"{prefix}call:{slot.name}", f"{prefix}meta", f"{prefix}channels"]
        for channel in channels:
            keys += (f"{prefix}last:{channel}", f"{prefix}history:{channel}")
        return keys, [slot.call, "1" if persist else "0", len(channels), *channels]

    def _bare_publish(self, channel: str, frame: bytes, key: str | None, _: str) -> list[Any]:
        topic, rest = self._prefix + channel, f"{_tail(key)}\n".encode() + frame
        stamp = self._stamps.sign(topic.encode(), b":- - ", rest)
        return ["PUBLISH", topic, b":- - " + stamp + rest]

    def replay(
        self,
        channels: Collection[Channel],
        *,
        after: Position | None = None,
        last: int = 0,
        limit: int = 0,
        max_bytes: int | None = None,
        witness: Message | None = None,
        state: bool = False,
    ) -> Snapshot:
        for _ in range(ATTEMPTS):
            history = History(
                self._run,
                self._key,
                self._spans,
                after=after,
                last=last,
                limit=limit,
                since=None if witness is None else witness.id,
                max_bytes=max_bytes,
            )
            opened = self._commands.opened
            try:
                with self._turn(channels, max_bytes):
                    if state:
                        found = self._states.replay(history, channels, max_bytes)
                    else:
                        found = self._replay(history, channels, after, last)
                found = found if witness is None else self._look_for(witness, history, found)
                # A feed that was opened meanwhile may lead to another server than was read from.
                if opened == self._commands.opened:
                    return found
            except (TooMuch, TooMany):
                history.read(())
                return too_much(history.state)
            except Changed:
                continue
        raise BrokerError("Redis lost data again and again during a replay.")

    @contextmanager
    def _turn(self, channels: Collection[Channel], max_bytes: int | None) -> Iterator[None]:
        """Let clients with patterns search the index one after the other, in each process."""
        if max_bytes is None or not any(channel.pattern for channel in channels):
            yield
            return
        searching = self._commands.process.searching
        if not searching.acquire(timeout=PATIENCE):
            raise BrokerError("Too many clients with patterns came back at once; try again.")
        try:
            yield
        finally:
            searching.release()

    def _replay(
        self, history: History, channels: Collection[Channel], after: Position | None, last: int
    ) -> Snapshot:
        wanted = after is not None or last > 0
        history.read([c.name for c in channels if not c.pattern] if wanted else [])
        patterns = [channel.name for channel in channels if channel.pattern]
        if wanted and patterns:
            # After the first step: what a channel keeps from now on is not of this replay.
            index = Index(self._commands.execute, self._key("channels"), patterns)
            if after is not None:
                history.read(index.since(self._spans.start(history.begin)))
            else:
                index.read_newest(history, self._spans, last)
            # It is read outside of the steps.
            history.confirm()
        found = snapshot(
            history.state, history.held, after=after, last=last, patterns=bool(patterns)
        )
        return dataclasses.replace(found, latest=history.latest)

    def _look_for(self, witness: Message, history: History, found: Snapshot) -> Snapshot:
        """Say whether Redis has the witness, and which channels have later messages."""
        id, name = witness.id, witness.channel
        assert id is not None
        key = self._key("history:" + name)
        # The history may be trimmed between these commands, but what it holds is one chain.
        last, upto, oldest, score = self._commands.execute(
            [
                ["GET", self._key("last:" + name)],
                ["XREVRANGE", key, str(id), "-", "COUNT", 1],
                ["XRANGE", key, "-", "+", "COUNT", 1],
                ["ZSCORE", self._key("channels"), name],
            ]
        )
        held = Held(
            name,
            [message(name, *entry) for entry in upto],
            Position.parse(last or b""),
            self._spans.end(score),
        )
        first = message(name, *oldest[0]) if oldest else None
        # The new master may have given the witness's id to another message.
        replaced = any(one.id == id and one.frame != witness.frame for one in held.messages)
        missing = replaced or is_missing(id, held, first, history.state)
        return dataclasses.replace(found, lacks_witness=missing)

    def note_fork(self, position: Position, *, overtaken: bool) -> Position:
        keys = [self._key(name) for name in ("ids", "meta")]
        return read_position(self._run("fork", keys, [str(position), int(overtaken)]))

    def open(self) -> RedisFeed:
        if self.numbered:
            self._begin()
        connection = self._commands.connect(f"redis-events:{os.getpid()}")
        return RedisFeed(connection, self._prefix, self._stamps)

    def close(self) -> None:
        self._commands.close()

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _run(self, script: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Run a script that needs the clock; it returns None, and does nothing, without one."""
        if not self._commands.process.checked:
            self._begin()
        for _ in range(ATTEMPTS):
            reply = self._commands.run(script, keys, arguments)
            if reply is not None:
                return reply
            self._begin()
        raise BrokerError("Redis deletes the keys of this application again and again.")

    def _begin(self) -> None:
        """Make the clock if there is none; refuse to mix layouts."""
        keys = [self._key(name) for name in ("ids", "meta", "channels", "clock")]
        # After a loss the word goes on, so that workers need not ask for another one.
        given = [LAYOUT, self._spans.grain, self._stamps.word or new_word()]
        found, self._stamps.word = self._commands.run("begin", keys, given)
        if found.decode() != LAYOUT:
            raise BrokerError(
                f"The keys {self._prefix}… on this Redis have layout {found.decode()}, and this"
                f" version of Flask-Redis-Events uses layout {LAYOUT}. Run the same version in all"
                " processes, or give this one another REDIS_EVENTS_PREFIX."
            )
        self._commands.process.checked = True


def _tail(key: str | None) -> str:
    """Return a key as the envelope has it."""
    return f" {key}" if key else ""
