"""What the extension keeps for one application: settings, emitter, and a hub in each process."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable

from flask import Flask

from .channels import Channel
from .emitter import Emitter
from .hub import Hub
from .listener import Listener, OnEvent
from .reports import Reports
from .settings import Settings


class Application:
    """One application's side; made in `init_app`, where nothing connects, locks or starts."""

    def __init__(self, app: Flask, settings: Settings, redis: object) -> None:
        self._app = weakref.ref(app)
        self.settings = settings
        self.emitter = Emitter(
            settings.url,
            prefix=settings.prefix,
            history=settings.history,
            history_ttl=settings.history_ttl,
            silence_ttl=settings.silence_ttl,
            state_keys=settings.state_keys,
            state_bytes=settings.state_bytes,
            state_ttl=settings.state_ttl,
            secret=settings.secret,
            max_event=settings.max_event,
            redis=redis,
            default=getattr(app.json, "default", None),
        )
        #: Who started a listener, by its process and number.
        self._started: dict[tuple[int, int], object] = {}
        self._hubs: dict[int, Hub] = {}

    @property
    def app(self) -> Flask:
        """The application, which owns this and not the other way round."""
        app = self._app()
        assert app is not None
        return app

    @property
    def hub(self) -> Hub:
        """This process's hub; after a fork the parent's is left alone."""
        pid = os.getpid()
        if pid not in self._hubs:
            # `setdefault` is atomic, and a hub that loses the race has started nothing.
            self._hubs.setdefault(pid, Hub(self.settings, self.emitter.broker, self.app))
        return self._hubs[pid]

    def reports(self) -> Reports:
        """Return this process's reports."""
        return self.hub.reports

    def start(self, listeners: Iterable[tuple[tuple[Channel, ...], OnEvent]]) -> None:
        """Start the listeners that do not run in this process yet."""
        pid = os.getpid()
        for number, (channels, function) in enumerate(listeners):
            claim = object()
            # Atomic, as the first two requests may come at once.
            if self._started.setdefault((pid, number), claim) is claim:
                Listener(self.hub, self.app, channels, function).start()
