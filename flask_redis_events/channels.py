"""Channel names, patterns and templates: what may be subscribed to, and what matches what.

Whether a name is a pattern is decided by the one who wrote it, never by a value filled into it:
`"user:{name}"` stays an exact channel when the name is `*`.
"""

from __future__ import annotations

import functools
import itertools
import re
import string
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .exceptions import ChannelError, ConfigError

#: Names that begin so are the extension's own: the channel that ticks travel on.
RESERVED = "$"
TICKS = "$ticks"
LOCAL = "$local:"
_numbers = itertools.count(1)
SEED_PREFIX = "redis:"


class Channel(NamedTuple):
    """What one subscription asks for: an exact name, or a glob pattern as PSUBSCRIBE has it."""

    name: str
    pattern: bool = False

    @property
    def local(self) -> bool:
        """Whether it is this worker's own, of which Redis does not know."""
        return self.name.startswith(LOCAL)

    @classmethod
    def parse(cls, text: object) -> Channel:
        """Read a channel as a developer writes it: `orders`, `redis:orders`, `orders:*`."""
        name = check_name(text)
        if is_pattern(name):
            return cls(name, pattern=True)
        # What was quoted for a pattern's sake stands for itself in a name.
        return cls(re.sub(r"\\([*?\[\]\\])", r"\1", name))


def local_channel() -> Channel:
    """Return a new channel that only this worker knows."""
    return Channel(f"{LOCAL}{next(_numbers)}")


def check_name(text: object) -> str:
    """Return the channel's name without the prefix `redis:`, or raise `ChannelError`."""
    if not isinstance(text, str):
        raise ChannelError(f"A channel is a str, not {text!r}.")
    name = text.removeprefix(SEED_PREFIX)
    if not name:
        raise ChannelError(f"A channel needs a name; {text!r} has none.")
    if any(character in name for character in "\r\n\0"):
        raise ChannelError(f"A channel cannot hold a line end or NUL: {text!r}.")
    if name.startswith(RESERVED):
        raise ChannelError(f"Channels that begin with {RESERVED!r} are reserved: {text!r}.")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ChannelError(f"A channel must be valid Unicode: {text!r}.") from error
    return name


def is_pattern(name: str) -> bool:
    """Say whether an unescaped `*`, `?` or `[` makes the name a pattern."""
    return re.search(r"[*?\[]", re.sub(r"\\.", "", name)) is not None


def escape(value: str) -> str:
    """Quote a value from outside, so that in a name or a pattern it stands for itself."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", value)


def parse_all(channels: object) -> tuple[Channel, ...]:
    """Read one channel or a list of them; the order is kept, repetitions are dropped."""
    if isinstance(channels, str):
        channels = [channels]
    if not isinstance(channels, Sequence) or isinstance(channels, bytes):
        raise ChannelError(f"Channels are a str or a list of str, not {channels!r}.")
    parsed = tuple(dict.fromkeys(map(Channel.parse, channels)))
    if not parsed:
        raise ChannelError("A stream needs at least one channel.")
    return parsed


class Template:
    """A channel with `{places}` for the URL's values, checked when the view is decorated."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ChannelError(f"A channel is a str, not {text!r}.")
        self.text = text
        try:
            self._parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ChannelError(f"The channel template {text!r} cannot be read: {error}.") from error
        for _, field, spec, conversion in self._parts:
            if field is not None and (not field.isidentifier() or spec or conversion):
                raise ChannelError(
                    f"The channel template {text!r} may hold {{names}} of the URL's values only,"
                    f" not {{{field}}}."
                )
        literal = "".join(part[0] for part in self._parts)
        self._pattern = is_pattern(literal)
        self.fields = [part[1] for part in self._parts if part[1] is not None]
        if not self.fields:
            Channel.parse(literal)

    def fill(self, values: Mapping[str, object]) -> Channel:
        """Return the channel for one request; values are never patterns.

        Raises `ConfigError` where the URL lacks a value, `ChannelError` where a value cannot be in
        a channel's name.
        """
        missing = [field for field in self.fields if field not in values]
        if missing:
            raise ConfigError(
                f"The channel template {self.text!r} needs {', '.join(missing)};"
                f" the URL has {', '.join(values) or 'no values'}."
            )
        quote = escape if self._pattern else str
        name = "".join(
            literal + (quote(str(values[field])) if field is not None else "")
            for literal, field, _, _ in self._parts
        )
        return Channel(check_name(name), self._pattern)


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(_to_regex(pattern.encode()), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Match as Redis does: byte by byte, `*`, `?`, `[a-c]`, `[^a]`, and `\\` to quote."""
    return _compiled(pattern).fullmatch(name.encode()) is not None


def _to_regex(pattern: bytes) -> bytes:
    regex = b""
    rest = pattern
    while rest:
        head, rest = rest[:1], rest[1:]
        if head == b"*":
            regex += b".*"
        elif head == b"?":
            regex += b"."
        elif head == b"[":
            member, rest = _class_to_regex(rest)
            regex += member
        elif head == b"\\" and rest:
            regex, rest = regex + re.escape(rest[:1]), rest[1:]
        else:
            regex += re.escape(head)
    return regex


def _class_to_regex(rest: bytes) -> tuple[bytes, bytes]:
    """Translate what follows `[`; as in Redis an unclosed class ends with the pattern."""
    negated = rest.startswith(b"^")
    rest = rest[1:] if negated else rest
    members: list[bytes] = []
    while rest and not rest.startswith(b"]"):
        if rest.startswith(b"\\") and len(rest) > 1:
            members.append(re.escape(rest[1:2]))
            rest = rest[2:]
        elif len(rest) >= 3 and rest[1:2] == b"-":
            low, high = sorted((rest[0:1], rest[2:3]))
            members.append(re.escape(low) + b"-" + re.escape(high))
            rest = rest[3:]
        else:
            members.append(re.escape(rest[:1]))
            rest = rest[1:]
    body = b"".join(members)
    if not body:
        return (b"." if negated else b"(?!)"), rest[1:]
    return b"[" + (b"^" if negated else b"") + body + b"]", rest[1:]
