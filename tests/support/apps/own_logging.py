"""A logger class and a `post_request` hook of a user's own, for gunicorn's configuration.

Each prints a line of JSON for each call.  They read what such code reads in the wild: `req.path`
to leave health checks out, the client's and the response's headers, the status and the size.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger


class OwnLogger(Logger):  # type: ignore[misc]
    """A logger whose `access` is its own, and asks gunicorn's for nothing."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        _tell("access", req, environ, resp, seconds=request_time.total_seconds())


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    _tell("hook", req, environ, resp, worker=worker.pid)


def _tell(what: str, req: Any, environ: Any, resp: Any, **more: Any) -> None:
    line = {
        "what": what,
        "path": req.path,
        "method": req.method,
        "agent": dict(req.headers).get("USER-AGENT"),
        "client": environ.get("REMOTE_ADDR"),
        "status": resp.status,
        "type": dict(resp.headers).get("Content-Type"),
        "sent": resp.sent,
    }
    print(json.dumps(line | more), flush=True)
