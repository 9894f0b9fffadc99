"""The layout that the examples share: base template, style, and what every page needs.

`app.register_blueprint(layout)` is all that an application does; `APP_NAME` in its configuration
stands in the header.
"""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint, Response, abort, current_app, g, json, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from flask_redis_events import BrokerError

from .bodies import posted, posted_text

__all__ = ["away", "color", "csp_nonce", "layout", "posted", "posted_text"]

layout = Blueprint(
    "layout", __name__, url_prefix="/layout", static_folder="static", template_folder="templates"
)

#: The browser runs the scripts that the nonce names, and the modules that those import.  Pico's
#: icons are `data:` URLs.  The SharedWorker is the one that all tabs have in common.
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; worker-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'"
)


def csp_nonce() -> str:
    """Return the nonce of this response, for its scripts."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return str(g.csp_nonce)


@layout.app_context_processor
def add_nonce() -> dict[str, Any]:
    return {"csp_nonce": csp_nonce()}


@layout.app_template_filter()
def color(name: str) -> str:
    """Return the class of an avatar's colour, always the same one for a name."""
    return f"c{sum(name.encode()) % 6}"


@layout.before_app_request
def refuse_other_sites() -> None:
    """Refuse forms that another site has sent in the user's name; every browser tells."""
    safe = request.method in ("GET", "HEAD", "OPTIONS")
    if not safe and request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        abort(403, "Another site has sent this request.")


@layout.after_app_request
def protect(response: Response) -> Response:
    if response.mimetype == "text/html":
        response.headers["Content-Security-Policy"] = POLICY.format(nonce=csp_nonce())
        # A page of somebody who has signed out must not come back with the browser's button.
        response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@layout.app_errorhandler(HTTPException)
def refused(error: HTTPException) -> ResponseReturnValue:
    """Answer a page with a page, and a script with JSON."""
    if error.response is not None:
        return error
    # It has the error's headers, such as `Allow` and `Retry-After`.
    response = error.get_response()
    text, code = error.description or error.name, error.code
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        response.data = render_template("layout/error.html", text=text, code=code)
    else:
        response.data = json.dumps({"error": text})
        response.mimetype = "application/json"
    return response


@layout.app_errorhandler(BrokerError)
def away(error: BrokerError) -> ResponseReturnValue:
    # The error's text may describe our Redis, so it goes into the log and not to the client.
    current_app.logger.error("%s", error)
    return refused(ServiceUnavailable("Redis is away, try again later."))
