"""The module over HTTP, and the tags that load it."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from flask import Flask, render_template_string

from flask_redis_events import RedisEvents


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = "memory://"
    RedisEvents(app)
    return app


def render(app: Flask, template: str) -> str:
    with app.test_request_context():
        return render_template_string(template, nonce='"n&n')


def integrity(body: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()


def test_the_module_is_kept_for_ever(app: Flask):
    """The URL that templates write gives JavaScript that the browser need not ask for again."""
    response = app.test_client().get(render(app, "{{ events.module() }}"))

    assert response.status_code == 200
    assert response.content_type == "text/javascript; charset=utf-8"
    assert b"export function subscribe" in response.data
    cache = response.cache_control
    assert (cache.public, cache.max_age, cache.immutable) == (True, 31_536_000, True)


def test_the_module_is_not_sent_twice(app: Flask):
    """A browser that asks again whether the module has changed gets 304."""
    client, url = app.test_client(), render(app, "{{ events.module() }}")
    etag = client.get(url).headers["ETag"]

    again = client.get(url, headers={"If-None-Match": etag})

    assert (again.status_code, again.data) == (304, b"")


def test_another_version_is_refused(app: Flask):
    """A hash that is not the module's gets 404 with a text that says why, and nobody keeps it."""
    url = re.sub("[0-9a-f]{16}", "0123456789abcdef", render(app, "{{ events.module() }}"))

    response = app.test_client().get(url)

    assert response.status_code == 404
    assert "another version of redis-events.js than '0123456789abcdef'" in response.text
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"


def test_the_script_has_integrity_and_nonce(app: Flask):
    """`script` writes the whole tag; the nonce is escaped."""
    url = render(app, "{{ events.module() }}")
    body = app.test_client().get(url).data
    tag = f'<script type="module" src="{url}" integrity="{integrity(body)}"'

    assert render(app, "{{ events.script() }}") == f"{tag}></script>"
    assert render(app, "{{ events.script(nonce=nonce) }}") == (
        f'{tag} nonce="&#34;n&amp;n"></script>'
    )


def test_the_import_map(app: Flask):
    """`importmap` names the module and its integrity, and the page's own modules."""
    url = render(app, "{{ events.module() }}")
    body = app.test_client().get(url).data
    text = render(app, "{{ events.importmap({'x': '/</script>'}, nonce='n') }}")
    match = re.fullmatch(r'<script type="importmap" nonce="n">(.*)</script>', text)

    assert match is not None
    assert "</script>" not in match[1]
    assert json.loads(match[1]) == {
        "imports": {"flask-redis-events": url, "x": "/</script>"},
        "integrity": {url: integrity(body)},
    }


def test_the_url_knows_where_the_application_is_mounted(app: Flask):
    """Behind a prefix the module's URL has the prefix, too."""
    with app.test_request_context("/", base_url="https://shop.example/live/"):
        url = app.extensions["redis_events"].module()

    assert re.fullmatch(r"/live/redis-events/[0-9a-f]{16}/redis-events\.js", url)


def test_a_template_may_have_events_of_its_own(app: Flask):
    """A value that a view gives its template comes before the extension."""
    with app.test_request_context():
        assert render_template_string("{{ events }}", events=[1]) == "[1]"
