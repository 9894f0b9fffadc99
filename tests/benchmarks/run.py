"""One run: who takes part, how often, and where the figures go."""

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
    """What every measurement is given."""

    redis: RedisServer
    rounds: int
    quick: bool
    contestants: Sequence[type[Contestant]] = ()
    results: Results = field(default_factory=Results)
    started: float = field(default_factory=time.monotonic)

    def chosen(self, *kinds: type[Contestant]) -> list[type[Contestant]]:
        """Return those who take part, of all or of these."""
        return [kind for kind in kinds or EVERYONE if kind in self.contestants]

    def everyone(self, stack: ExitStack, *kinds: type[Contestant]) -> Iterator[Contestant]:
        """Start them; they end with the stack."""
        for kind in self.chosen(*kinds):
            yield stack.enter_context(kind(self.redis))

    def turns(self, field: Sequence[T], number: int) -> list[T]:
        """Return them in another order in each round: nobody always comes after the same one."""
        start = number % len(field)
        return [*field[start:], *field[:start]]

    def tell(self, what: str) -> None:
        """Say what is being done."""
        seconds = int(time.monotonic() - self.started)
        print(f"{seconds // 60:>3}:{seconds % 60:02}  {what}", file=sys.stderr, flush=True)


def available(names: Sequence[str]) -> list[type[Contestant]]:
    """Return the contestants whose names begin so (all, without names), and say who is missing."""
    found = []
    for kind in EVERYONE:
        if names and not any(kind.name.startswith(name) for name in names):
            continue
        if needs := missing(kind):
            print(f"{kind.name} is left out: {needs} is not installed.", file=sys.stderr)
        else:
            found.append(kind)
    return found
