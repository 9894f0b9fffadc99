"""Events that leave when nobody waits for them any more: after a commit, or a second later."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .broker import Broker, Outgoing, in_calls
from .exceptions import StateFull
from .reports import Reports


class Sender(NamedTuple):
    """Publishes for one emitter, and reports a failure, because there is nobody to raise it to."""

    broker: Broker
    find_reports: Callable[[], Reports]

    def send(self, messages: Sequence[Outgoing], *, persist: bool = True) -> None:
        """Publish messages in order, many in one round trip."""
        left = deque(in_calls(messages))
        while left:
            some = left.popleft()
            try:
                self.broker.publish_many(some, persist=persist)
            except StateFull as error:
                # Nothing of this call was published, and the others are not to miss it.
                if len(some) == 1:
                    self._failed(some, error)
                else:
                    left.extendleft([one] for one in reversed(some))
            except Exception as error:
                self._failed([*some, *itertools.chain(*left)], error)
                return

    def _failed(self, messages: Sequence[Outgoing], error: Exception) -> None:
        self.find_reports().emit_failed([one.channel for one in messages], error)
