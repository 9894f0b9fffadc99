"""The code blocks of README.md and of the pages below `docs/`, in the order of each page."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.processes import ROOT

DOCS = ROOT / "docs"

_RST = re.compile(
    r"^(?P<indent> *)\.\. (?P<kind>code-block|literalinclude):: *(?P<argument>\S+)\n"
    r"(?P<options>(?:(?P=indent) +:.*\n)*)"
    r"(?P<text>(?:\n|(?P=indent) {3}.*(?:\n|\Z))*)",
    re.MULTILINE,
)
_MARKDOWN = re.compile(r"^```(?P<argument>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"^ *:(\w+): *(.*)$", re.MULTILINE)


class Block(NamedTuple):
    """A block; `file` is the path of a file that the page includes, "" for text of its own."""

    page: str
    line: int
    language: str
    caption: str
    file: str
    text: str
    #: Whether the commands of the block before show this text.
    is_shown: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Return the names of all pages, README.md first."""
    return ["README.md", *sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.rst"))]


def blocks(*names: str) -> list[Block]:
    """Return the blocks of the pages of these names, or of all pages."""
    return [block for name in names or pages() for block in _blocks(name)]


def _blocks(page: str) -> Iterator[Block]:
    is_markdown = page.endswith(".md")
    path = (ROOT if is_markdown else DOCS) / page
    source, before = path.read_text("utf-8"), ""
    for match in (_MARKDOWN if is_markdown else _RST).finditer(source):
        found = match.groupdict()
        options = dict(_OPTION.findall(found.get("options") or ""))
        language, file = found["argument"], ""
        text = textwrap.dedent(found["text"]).strip("\n") + "\n"
        if found.get("kind") == "literalinclude":
            included = (path.parent / found["argument"]).resolve()
            language, file = options["language"], included.relative_to(DOCS).as_posix()
            text = included.read_text("utf-8")
        line = source.count("\n", 0, match.start()) + 1
        caption = options.get("caption", "")
        is_shown = (before, language, caption) == ("bash", "text", "")
        yield Block(page, line, language, caption, file, text, is_shown)
        before = language
