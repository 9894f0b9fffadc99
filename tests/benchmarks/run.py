"""One run: who takes part, how often, and where the figures go."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from tests.support.servers import RedisServer

from .contestant import Contestant
from .contestants import EVERYONE, missing
from .ours import Ours, Package, from_package
from .results import Results

T = TypeVar("T")
#: Each kind of contestant, as it takes part: once, or once for each package.
Contestants = Mapping[type[Contestant], Sequence[type[Contestant]]]


@dataclass
class Run:
    """What every measurement is given."""

    redis: RedisServer
    rounds: int
    quick: bool
    contestants: Contestants
    results: Results = field(default_factory=Results)
    started: float = field(default_factory=time.monotonic)

    def chosen(self, *kinds: type[Contestant]) -> list[type[Contestant]]:
        """Return those of these kinds who take part; one kind's packages are next to each other."""
        return [one for kind in kinds for one in self.contestants.get(kind, ())]

    def start(self, kind: type[Contestant], stack: ExitStack) -> Contestant:
        """Start a contestant; it ends with the stack."""
        contestant = stack.enter_context(kind(self.redis))
        if isinstance(contestant, Ours):
            contestant.check_package()
        return contestant

    def turns(self, field: Sequence[T], number: int) -> list[T]:
        """Return them in another order in each round: nobody always comes after the same one."""
        start = number % len(field) if field else 0
        return [*field[start:], *field[:start]]

    def tell(self, what: str) -> None:
        """Say what is being done."""
        seconds = int(time.monotonic() - self.started)
        print(f"{seconds // 60:>3}:{seconds % 60:02}  {what}", file=sys.stderr, flush=True)


def available(names: Sequence[str], packages: Sequence[Package] = ()) -> Contestants:
    """Return the contestants with these names (all, without names), and say who is missing."""
    found: dict[type[Contestant], list[type[Contestant]]] = {}
    for kind in _named(names):
        if needs := missing(kind):
            print(f"{kind.name} is left out: {needs} is not installed.", file=sys.stderr)
        elif packages and issubclass(kind, Ours):
            found[kind] = [from_package(kind, package) for package in packages]
        else:
            found[kind] = [kind]
    return found


def _named(names: Sequence[str]) -> list[type[Contestant]]:
    """Return whose name is one of these or, where nobody's is, whose name begins so."""
    exact = {kind.name for kind in EVERYONE}.intersection(names)
    starts = tuple(name for name in names if name not in exact)
    return [
        kind
        for kind in EVERYONE
        if not names or kind.name in exact or (starts and kind.name.startswith(starts))
    ]
