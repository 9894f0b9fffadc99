"""The Python and the templates of the pages are run, page by page, and each view is called."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import flask
import httpx
import pytest
from fastapi import FastAPI

from tests.docs.blocks import Block, blocks
from tests.docs.stand_ins import flask_class, names
from tests.support.processes import ROOT
from tests.support.servers import RedisServer

#: Pages whose files a walk writes and runs (test_console.py, test_tutorial.py).
WALKS = {block.page for block in blocks() if block.language == "bash"}
GUNICORN = [block for block in blocks() if block.caption == "gunicorn.conf.py"]
#: What the views look for in the session, the query and the body.
SESSION = {"user": "admin", "user_id": 7, "teams": ["one"], "role": "admin"}
QUERY = {"channel": "orders", "room": "7"}
BODY = {"title": "new", "question": "Why?", "item": "pen"}


def is_run_here(block: Block) -> bool:
    """Tell whether a block is no file of its own that something else runs."""
    is_file = block.caption.partition(",")[0].endswith(".py")
    is_walked = is_file and block.page in WALKS
    return block.language == "python" and not (block.file or is_walked or block in GUNICORN)


PAGES = sorted({block.page for block in blocks() if is_run_here(block)})


@pytest.fixture
def app(redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> flask.Flask:
    """An application for the page; one that the page makes uses the same Redis."""
    monkeypatch.setattr(flask, "Flask", flask_class(redis_server.url, prefix))
    monkeypatch.setenv("REDIS_EVENTS_URL", redis_server.url)
    return flask.Flask("page")


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, app: flask.Flask):
    """The blocks run one after the other, and the views that they make answer."""
    here = names(page, app)
    for block in filter(is_run_here, blocks(page)):
        text = block.text.replace("redis://localhost:6379/0", app.config["REDIS_EVENTS_URL"])
        # A page that makes an application of its own is not in the context of ours.
        with contextlib.nullcontext() if "Flask(__name__)" in text else app.app_context():
            exec(compile("\n" * block.line + text, block.place, "exec"), here)
        if isinstance(here["app"], FastAPI):
            asyncio.run(call_fastapi(here["app"]))
            here["app"] = app
        app = here["app"]
    for block in blocks(page):
        if block.language == "html+jinja" and not block.file and page not in WALKS:
            with app.test_request_context():
                assert "{{" not in flask.render_template_string(block.text, **here), block.place
    if page != "configuration.rst":  # its Redis is that of a shop
        call_views(app)
        with app.app_context():
            here["events"].hub.close()


async def call_fastapi(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:
        assert (await client.post("http://shop/orders/7")).status_code == 200


def call_views(app: flask.Flask) -> None:
    """Request each view; a stream has to begin."""
    client = app.test_client()
    with client.session_transaction() as session:
        session.update(SESSION)
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(("static", "redis_events")):
            continue
        url = rule.rule.replace("<int:", "<")
        for name, converter in rule._converters.items():
            value = 7 if type(converter).__name__ == "IntegerConverter" else "a"
            url = url.replace(f"<{name}>", str(value))
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        json = BODY if method == "POST" else None
        response = client.open(url, method=method, query_string=QUERY, json=json)
        if response.status_code in (400, 415):
            response = client.open(url, method=method, data=BODY)
        assert response.status_code < 400, f"{method} {url}: {response.status}"
        if response.mimetype == "text/event-stream" and response.status_code == 200:
            assert next(response.iter_encoded()).startswith((b"id:", b"event:", b":")), url
        response.close()


@pytest.mark.parametrize("block", GUNICORN, ids=lambda block: block.place)
def test_gunicorn_takes_the_configurations(block: Block, tmp_path: Path):
    """gunicorn reads the file, and loads an application with it."""
    text = block.text.replace("unix:/run/shop", f"unix:{tmp_path}")
    (tmp_path / "gunicorn.conf.py").write_text(text)
    command = [sys.executable, "-m", "gunicorn", "--check-config"]
    done = subprocess.run(
        [*command, "tests.support.apps.trivial:create_app()"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 0, done.stderr
