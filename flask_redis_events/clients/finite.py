"""A subscription to a run: it ends itself where the run's log does."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..endings import ENDED
from ..wire import Batch, Position, control
from ..wire.control import Loss
from ..wire.run import BEGUN, comes_to
from .stateful import Stateful


class Finite(Stateful):
    """A member that takes nothing after a run's marker, and in the marker's place takes `end`.

    After a loss it begins anew, so that it gets the whole run, and the end if that is past.
    """

    __slots__ = ("has_begun",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Whether the run is known to have begun.
        self.has_begun = False

    @property
    def awaits_end(self) -> bool:
        """Whether the run has begun, and its end would arrive live."""
        return self.has_begun and not self._held and self.closed is None

    def offer(self, batch: Batch) -> None:
        if self._held:
            # `start` finds out which of it belongs to the run.
            super().offer(batch)
            return
        newer = batch.after(self.floor)
        if newer is not None:
            before, end = self._cut([newer])
            for one in before:
                super().offer(one)
            self._maybe_end(end)

    def lose(self, loss: Loss) -> bool:
        told = super().lose(loss)
        # It comes back, and learns anew whether there is a run.
        self.has_begun = self.has_begun and not told
        return told

    def start(self, floor: Position | None, first: Iterable[Batch] = ()) -> None:
        super().start(floor, first)
        with self._guard:
            before, end = self._cut(self._backlog.take() if self._backlog else [])
            # It is history again, which does not count.
            self._waiting().begin(before, None)
            self._backlog = self._backlog or None
        self._maybe_end(end)

    def take(self, timeout: float | None = None, *, most: float = math.inf) -> list[Batch]:
        # Under threads, a marker may be offered while `start` runs.
        before, end = self._cut(super().take(timeout, most=most))
        if end is not None:
            with self._guard:
                # Nothing that follows a marker is of the run.
                self._backlog = None
        self._maybe_end(end)
        return before

    def _maybe_end(self, end: Batch | None) -> None:
        if end is not None:
            self.close(ENDED, last=end)

    def _cut(self, batches: list[Batch]) -> tuple[list[Batch], Batch | None]:
        """Return what comes before a marker, and the `end` that takes the marker's place.

        Take note if the run begins.
        """
        for index, batch in enumerate(batches):
            for number, message in enumerate(batch.messages):
                state = comes_to(message)
                if state == BEGUN:
                    self.has_begun = True
                elif state is not None:
                    rest = [Batch(batch.messages[:number])] if number else []
                    return [*batches[:index], *rest], control.end(message.id, state)
        return batches, None
