"""Channel names, patterns and templates: which are allowed, and which names a pattern matches.

Only the developer's text can make a channel a pattern, or begin with `redis:`; a value filled into
a template never can.  So `"user:{name}"` remains an exact channel when the name in the URL is `*`,
and a client cannot subscribe to other users' channels.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .exceptions import ChannelError, ConfigError

#: Names that begin with this are the extension's own.
RESERVED = "$"
#: The most bytes of a name, which may come from a URL, and is kept by workers and by Redis.
LONGEST = 1024
#: Workers publish ticks on this channel, which show that the path through Redis works.
TICKS = "$ticks"
#: Workers ask each other here to end streams.
KICKS = "$kicks"
#: What every worker listens to.
OWN = (TICKS, KICKS)
#: Before a channel's name: who comes to it and who goes.
PRESENCE = "$presence:"
#: A developer may write `redis:orders` for the channel `orders`, so no channel's name begins so.
SPELLING = "redis:"
_UNFIT = re.compile(r"[\r\n\0]")


class Channel(NamedTuple):
    """One thing to subscribe to: an exact name (SUBSCRIBE), or a glob pattern (PSUBSCRIBE)."""

    name: str
    pattern: bool = False

    @classmethod
    def parse(cls, text: object) -> Channel:
        """Read a channel: `orders`, `orders:*`."""
        name = check_name(text)
        return cls(name, pattern=True) if is_pattern(name) else cls(unescape(name))


def written(text: str) -> str:
    """Return a channel without the prefix `redis:`, which a developer may write before it."""
    return text.removeprefix(SPELLING) if isinstance(text, str) else text


def check_name(text: object) -> str:
    """Return the channel's name, or raise `ChannelError`."""
    if not isinstance(text, str):
        raise ChannelError(f"A channel is a str, not {text!r}.")
    if not text:
        raise ChannelError("A channel needs a name; '' is none.")
    if _UNFIT.search(text):
        raise ChannelError(f"A channel cannot hold a line end or NUL: {text!r}.")
    if text.startswith(RESERVED):
        raise ChannelError(f"Channels that begin with {RESERVED!r} are reserved: {text!r}.")
    if text.startswith(SPELLING):
        raise ChannelError(f"A channel's name cannot begin with {SPELLING!r}; omit it: {text!r}.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ChannelError(f"A channel must be valid Unicode: {text!r}.") from error
    if size > LONGEST:
        raise ChannelError(
            f"A channel's name has {LONGEST} bytes at most; {text[:40]!r}… has {size}."
        )
    return text


def is_pattern(name: str) -> bool:
    """Say whether an unescaped `*`, `?` or `[` makes the name a pattern."""
    return re.search(r"[*?\[]", re.sub(r"\\.", "", name)) is not None


def escape(value: str) -> str:
    """Quote a value from outside, so that each character in it stands for itself."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", value)


def unescape(name: str) -> str:
    """Undo the quoting, because in an exact name each character stands for itself anyway."""
    return re.sub(r"\\([*?\[\]\\])", r"\1", name)


def parse_all(channels: object) -> tuple[Channel, ...]:
    """Read a channel or a list of channels; keep their order, and drop repetitions."""
    if isinstance(channels, str):
        channels = [channels]
    if not isinstance(channels, Sequence) or isinstance(channels, bytes):
        raise ChannelError(f"Channels are a str or a list of str, not {channels!r}.")
    parsed = tuple(dict.fromkeys(map(Channel.parse, channels)))
    if not parsed:
        raise ChannelError("A stream needs at least one channel.")
    return parsed


#: Text that ends neither inside a class nor with a backslash, which would quote what follows.
_ENDED = re.compile(r"(?:[^\[\\]|\\.|\[(?:[^\]\\]|\\.)*\])*", re.DOTALL)


class Template:
    """A channel with `{names}` of the URL's values.

    The text is checked when the view is decorated, so that a mistake shows at start-up and not in
    the first request.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ChannelError(f"A channel is a str, not {text!r}.")
        self.text = text
        try:
            parts = list(string.Formatter().parse(written(text)))
        except ValueError as error:
            raise ChannelError(f"The channel template {text!r} cannot be read: {error}.") from error
        literal = ""
        for part, field, spec, conversion in parts:
            literal += part
            if field is not None and (not field.isidentifier() or spec or conversion):
                raise ChannelError(
                    f"The channel template {text!r} may only hold {{names}} of the URL's values,"
                    f" not {{{field}}}."
                )
            if field is not None and not _ENDED.fullmatch(literal):
                raise ChannelError(
                    f"In the channel template {text!r}, {{{field}}} must not stand inside [ ] or"
                    " behind a backslash."
                )
        self._pattern = is_pattern(literal)
        # As in `Channel.parse`.
        read = str if self._pattern else unescape
        self._parts = [(read(part), field) for part, field, _, _ in parts]
        self.fields = [field for _, field in self._parts if field is not None]
        if not self.fields:
            Channel.parse(literal)

    def fill(self, values: Mapping[str, object]) -> Channel:
        """Return the channel for one request; a value never acts as a pattern.

        Raises `ConfigError` if the URL lacks a value, and `ChannelError` if a value cannot be part
        of a channel's name.
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
            for literal, field in self._parts
        )
        return Channel(check_name(name), self._pattern)


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(_to_regex(pattern.encode()), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Say whether a pattern matches a name by Redis' rules (`stringmatchlen` in its util.c).

    They know `*`, `?`, `[a-c]`, `[^a]` and `\\` for quoting, and they compare bytes, so `?` matches
    one byte of a longer UTF-8 sequence.  In one point we are stricter: a reserved name is matched
    only by a pattern that names it so.
    """
    if name.startswith(RESERVED) and not pattern.startswith(RESERVED):
        return False
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
    """Translate the class after a `[`; return its regex, and the pattern that follows the class.

    As in Redis, a class without `]` ends with the pattern, and a range may be written backwards.
    """
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
        # `[]` matches nothing, and `[^]` matches any byte; a regex can write neither.
        return (b"." if negated else b"(?!)"), rest[1:]
    return b"[" + (b"^" if negated else b"") + body + b"]", rest[1:]
