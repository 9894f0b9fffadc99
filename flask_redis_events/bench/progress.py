"""A progress bar on standard error, if that is a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

#: The least seconds between two drawings.
EVERY = 0.25


class Progress:
    """One line of the terminal, which each drawing overwrites."""

    def __init__(self, out: TextIO = sys.stderr, *, shown: bool | None = None) -> None:
        self._out = out
        self._shown = out.isatty() if shown is None else shown
        self._drawn_at = 0.0

    def draw(self, name: str, part: float, text: str) -> None:
        """Show a bar for `part`, from 0 to 1, between a name and a text."""
        now = time.monotonic()
        if not self._shown or now - self._drawn_at < EVERY:
            return
        self._drawn_at = now
        width = max(10, min(40, shutil.get_terminal_size().columns - len(name) - len(text) - 4))
        full = round(width * min(1.0, max(0.0, part)))
        bar = "█" * full + "░" * (width - full)
        self._out.write(f"\r{name} {bar} {text}\033[K")
        self._out.flush()

    def clear(self) -> None:
        """Empty the line, so that other output can begin on it."""
        if self._shown:
            self._out.write("\r\033[K")
            self._out.flush()
