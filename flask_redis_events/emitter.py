"""Emit events and read what is kept of them, with Flask or without it.

Celery tasks, cron jobs and scripts reach the same browsers as the web workers do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import settings
from .broker import Broker, StateLimits, open_broker
from .emitting import Emitting
from .later import Sender
from .reports import Metrics, Reports
from .settings import Settings
from .touches import Touches


class Emitter(Emitting):
    """Sends events through a Redis; the arguments are the settings of the same names.

    `redis` is a redis-py client to take the connection's settings from, in place of `url`;
    `default` turns what JSON does not know into what it does, as in `json.dumps`.
    """

    def __init__(
        self,
        url: str = Settings.url,
        *,
        prefix: str = Settings.prefix,
        history: int = Settings.history,
        history_ttl: float = Settings.history_ttl,
        silence_ttl: float = Settings.silence_ttl,
        state_keys: int = Settings.state_keys,
        state_bytes: int = Settings.state_bytes,
        state_ttl: float = Settings.state_ttl,
        secret: str = Settings.secret,
        max_event: int = Settings.max_event,
        redis: object = None,
        default: Callable[[Any], Any] | None = None,
    ) -> None:
        self._own_default = default
        self._max = settings.size("max_event", max_event)
        self._reports: Reports | None = None
        self._touched: dict[int, Touches] = {}
        self._broker = open_broker(
            settings.url("url", url),
            prefix=settings.prefix("prefix", prefix),
            history=settings.count("history", history),
            history_ttl=settings.seconds("history_ttl", history_ttl),
            silence_ttl=settings.seconds("silence_ttl", silence_ttl),
            secret=settings.secret("secret", secret),
            state=StateLimits(
                settings.count("state_keys", state_keys),
                settings.size("state_bytes", state_bytes),
                settings.seconds("state_ttl", state_ttl),
            ),
            client=redis,
        )

    @property
    def broker(self) -> Broker:
        """The broker of this emitter."""
        return self._broker

    @property
    def metrics(self) -> Metrics:
        """The counters of this emitter: `emit_failed`."""
        return self.reports().metrics

    @property
    def _default(self) -> Callable[[Any], Any] | None:
        return self._own_default

    @property
    def _max_event(self) -> int:
        return self._max

    @property
    def _sender(self) -> Sender:
        return Sender(self.broker, self.reports)

    @property
    def _touches(self) -> Touches:
        return self.touches(self._sender)

    def touches(self, sender: Sender) -> Touches:
        """Return the touched channels of this process."""
        pid = os.getpid()
        if pid not in self._touched:
            # Atomic, and one that loses the race has started nothing.
            self._touched.setdefault(pid, Touches(sender))
        return self._touched[pid]

    def reports(self) -> Reports:
        """Return where failures are reported; made when needed, because there is a lock in it."""
        if self._reports is None:
            self._reports = Reports(None)
        return self._reports

    def close(self) -> None:
        """Close its connections; the next emit opens new ones."""
        self.broker.close()
