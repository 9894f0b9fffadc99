"""The texts of the Lua scripts, with the settings of one broker in them.

What is the same for every call is a part of the text, so that no call has to carry it.  So a secret
does not appear in what Redis logs of slow calls.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib import resources

NAMES = (
    *("begin", "publish", "replay", "fork", "lease", "note", "left"),
    *("run", "stop", "keep", "state"),
)


class Scripts:
    """The scripts' texts, and the names by which Redis knows those that it has loaded."""

    def __init__(self, settings: Mapping[str, str | int]) -> None:
        names, values = ", ".join(settings), ", ".join(map(_literal, settings.values()))
        head = f"local {names} = {values}\n" if settings else ""
        uses = re.compile(rf"\b({'|'.join(settings)})\b")
        texts = {name: _read(name) for name in NAMES}
        # Redis never forgets a text, so that brokers share those which need no settings.
        self.texts = {n: head + text if uses.search(text) else text for n, text in texts.items()}
        self.digests = {
            name: hashlib.sha1(text.encode()).hexdigest() for name, text in self.texts.items()
        }


def _read(name: str) -> str:
    """Return a script; a line `-- include x` in it becomes the function `x(KEYS, ARGV)`."""
    text = resources.files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")

    def function(found: re.Match[str]) -> str:
        return f"local function {found[1]}(KEYS, ARGV)\n{_read(found[1])}end\n"

    return re.sub(r"^-- include (\w+)\n", function, text, flags=re.MULTILINE)


def _literal(value: str | int) -> str:
    """Write a value in Lua: each byte of a str is escaped, as a prefix may have any."""
    if isinstance(value, int):
        return str(value)
    return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
