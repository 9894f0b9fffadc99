"""The page's side: the ES module `static/redis-events.js`, its URL, and the tags that load it.

The URL holds a hash of the module's text, so that a browser may keep it for ever, and gets another
one by itself when the package is upgraded.  The same file is the npm package.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from flask import Blueprint, Flask, Response, request, url_for
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

#: The name by which a page imports the module: that of the npm package.
NAME = "flask-redis-events"
_PATH = Path(__file__).with_name("static") / "redis-events.js"
_ENDPOINT = "redis_events"
_YEAR = 365 * 24 * 3600


class Page:
    """The functions of the extension for templates, in which it is `events`."""

    def module(self) -> str:
        """Return the URL of the ES module, for `import`."""
        return url_for(f"{_ENDPOINT}.module", digest=_digest())

    def script(self, *, nonce: str | None = None) -> Markup:
        """Return the `<script>` that loads the module, for pages that use `<event-stream>`.

        `nonce` is that of the page's Content-Security-Policy.
        """
        return _tag(nonce, type="module", src=self.module(), integrity=_integrity())

    def importmap(
        self, imports: Mapping[str, str] | None = None, *, nonce: str | None = None
    ) -> Markup:
        """Return the import map with which a page imports from "flask-redis-events".

        A page has one import map, so `imports` adds the page's own names and their URLs.
        """
        url = self.module()
        names = {NAME: url, **(imports or {})}
        text = htmlsafe_json_dumps({"imports": names, "integrity": {url: _integrity()}})
        return _tag(nonce, text, type="importmap")


def register(app: Flask, page: Page) -> None:
    """Serve the module, and give the app's templates `events`."""
    blueprint = Blueprint(_ENDPOINT, __name__, url_prefix="/redis-events")
    blueprint.add_url_rule("/<digest>/redis-events.js", "module", _serve)
    app.register_blueprint(blueprint)
    app.context_processor(lambda: {"events": page})


def _serve(digest: str) -> Response:
    if digest != _digest():
        # Workers of two versions may answer in turn, so nobody may keep this answer.
        return Response(
            f"This server has another version of redis-events.js than {digest!r}: load the page"
            " anew, and write the module's URL with events.module().\n",
            status=404,
            headers={"Cache-Control": "no-store"},
            content_type="text/plain; charset=utf-8",
        )
    response = Response(_text(), content_type="text/javascript; charset=utf-8")
    response.cache_control.public = True
    response.cache_control.max_age = _YEAR
    response.cache_control.immutable = True
    response.set_etag(digest)
    response.make_conditional(request)
    return response


def _tag(nonce: str | None, text: str = "", **attributes: str) -> Markup:
    if nonce is not None:
        attributes["nonce"] = nonce
    written = Markup(" ").join(
        Markup('{}="{}"').format(name, value) for name, value in attributes.items()
    )
    return Markup("<script {}>{}</script>").format(written, text)


@functools.cache
def _text() -> bytes:
    return _PATH.read_bytes()


def _digest() -> str:
    return hashlib.sha256(_text()).hexdigest()[:16]


def _integrity() -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(_text()).digest()).decode()
