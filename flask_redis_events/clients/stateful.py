"""A subscription of a stream that begins with the state: where it misses something, it begins anew.

The page cannot know which of its values are old then, and the state has the newest ones.  So it is
with the whole of a run.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..endings import ANEW
from ..wire import Batch, Position
from ..wire.control import Loss
from .subscription import Subscription


class Stateful(Subscription):
    """A member that comes back without its position after a loss, and so gets the state again."""

    __slots__ = ()

    def lose(self, loss: Loss) -> bool:
        told = super().lose(loss)
        if told:
            self.owner.dismiss(ANEW)
        return told

    def start(self, floor: Position | None, first: Iterable[Batch] = ()) -> None:
        super().start(floor, first)
        with self._guard:
            told = self._backlog is not None and self._backlog.tells_of_loss
        if told:
            # It came between the reading of Redis and this beginning, and concerns both.
            self.owner.dismiss(ANEW)

    def _report(self, dropped: int | None) -> None:
        # Whatever the overflow policy is: it resumes, and has what was dropped from history.
        super()._report(None if dropped else dropped)
