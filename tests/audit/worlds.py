"""The worlds: in each Redis keeps its data for longer or shorter, and other things befall it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import faults, losses
from .scene import Scene
from .stores import Lasting, Pair, Store, Watched


@dataclass(frozen=True)
class World:
    """A Redis, how long it keeps what, and what befalls it."""

    name: str
    open: Callable[[Path, contextlib.ExitStack], Store]
    faults: Sequence[Callable[[Scene], None]]
    history: int
    history_ttl: float
    silence_ttl: float
    #: Whether Redis loses nothing, so that any `reset` is a false one.
    lasting: bool = False


WORLDS = {
    world.name: world
    for world in (
        World(
            "lasting",
            Lasting,
            [*faults.HARMLESS, *faults.RESTARTS, *faults.SWALLOWED],
            history=100_000,
            history_ttl=3600,
            silence_ttl=86_400,
            lasting=True,
        ),
        World(
            "losing",
            Pair,
            [*faults.HARMLESS, *faults.SWALLOWED, *losses.LOSSES],
            history=200,
            history_ttl=3,
            silence_ttl=8,
        ),
        World(
            "failing",
            Watched,
            # A master that is frozen is replaced, see `fail_over_from_frozen`.
            [*(f for f in faults.HARMLESS if f is not faults.freeze_redis), *losses.FAILOVERS],
            history=1000,
            history_ttl=300,
            silence_ttl=86_400,
        ),
    )
}
