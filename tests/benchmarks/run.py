"""One run: its contestants, its rounds and its results."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from tests.support.servers import RedisServer

from .contestants import EVERYONE, Contestant, missing
from .results import Results

T = TypeVar("T")


@dataclass
class Run:
    """The parameters of a run, which every measurement gets."""

    redis: RedisServer
    rounds: int
    quick: bool
    contestants: Sequence[type[Contestant]] = ()
    results: Results = field(default_factory=Results)
    started: float = field(default_factory=time.monotonic)

    def chosen(self, *kinds: type[Contestant]) -> list[type[Contestant]]:
        """Return the contestants that take part, of these kinds or of all."""
        return [kind for kind in kinds or EVERYONE if kind in self.contestants]

    def everyone(self, stack: ExitStack, *kinds: type[Contestant]) -> Iterator[Contestant]:
        """Start the contestants, and end them with the stack."""
        for kind in self.chosen(*kinds):
            yield stack.enter_context(kind(self.redis))

    def turns(self, field: Sequence[T], number: int) -> list[T]:
        """Rotate the order in each round, so that none always comes first."""
        start = number % len(field)
        return [*field[start:], *field[:start]]

    def tell(self, what: str) -> None:
        """Print the time and what is being measured."""
        seconds = int(time.monotonic() - self.started)
        print(f"{seconds // 60:>3}:{seconds % 60:02}  {what}", file=sys.stderr, flush=True)


def available(names: Sequence[str]) -> list[type[Contestant]]:
    """Return the contestants whose names begin with `names`, or all; report missing ones."""
    found = []
    for kind in EVERYONE:
        if names and not any(kind.name.startswith(name) for name in names):
            continue
        if needs := missing(kind):
            print(f"{kind.name} is left out: {needs} is not installed.", file=sys.stderr)
        else:
            found.append(kind)
    return found
