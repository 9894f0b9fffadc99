"""Events that leave when nobody waits for them any more: after a commit, or a second later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .broker import Broker, Outgoing
from .reports import Reports


class Sender(NamedTuple):
    """Publishes for one emitter, and reports a failure, because there is nobody to raise it to."""

    broker: Broker
    find_reports: Callable[[], Reports]

    def send(self, messages: Sequence[Outgoing], *, persist: bool = True) -> None:
        """Publish messages in order, many in one round trip."""
        try:
            self.broker.publish_many(messages, persist=persist)
        except Exception as error:
            self.find_reports().emit_failed([one.channel for one in messages], error)
