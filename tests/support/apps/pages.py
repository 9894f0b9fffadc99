"""The streams, and pages that listen to them with the clients that the documentation shows."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from flask import Flask, Response, request, send_from_directory

from . import streams

CLIENTS = Path(__file__).resolve().parents[3] / "docs" / "clients"


def create_app() -> Flask:
    app = streams.create_app()
    requests = itertools.count()

    @app.get("/clients/<file>")
    def client(file: str) -> Response:
        return send_from_directory(CLIENTS, file)

    @app.get("/listen")
    def listen() -> str:
        """A page whose client is `?client=`, with the arguments `?stream=` and `?options=`."""
        options = json.loads(request.args.get("options", "{}"))
        return PAGE % (request.args["client"], json.dumps(request.args["stream"]), options)

    @app.get("/late/<name>")
    @streams.events.stream("{name}")
    def late(name: str) -> Response | None:
        """Answer the first request as a proxy does while its server is away."""
        return None if next(requests) else Response(status=502)

    @app.get("/elsewhere")
    def elsewhere() -> str:
        return "<!doctype html><title>elsewhere</title>"

    return app


PAGE = """<!doctype html><title>listen</title><script type="module">
import { listen } from "/clients/%s";
window.got = []; window.resets = []; window.opened = 0; window.ready = 0; window.keptAt = null;
window.EventSource = class extends EventSource {
  constructor(...given) {
    super(...given);
    opened += 1;
    this.addEventListener("ready", () => ready += 1);
  }
};
addEventListener("pageshow", (event) => { if (event.persisted) keptAt = performance.now(); });
window.stop = listen(%s, (data) => got.push(data), (reason) => resets.push(reason), %s);
</script>"""
