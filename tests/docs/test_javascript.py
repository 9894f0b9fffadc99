"""The JavaScript of the pages runs in a browser, and calls the functions that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from flask_redis_events import Emitter
from tests.browser.conftest import Browse, browse
from tests.docs.blocks import blocks
from tests.support.servers import Gunicorn, RedisServer
from tests.support.waiting import wait_until

__all__ = ["browse"]

pytestmark = pytest.mark.timeout(180)

BLOCKS = [b for b in blocks() if b.language == "javascript" and not b.file]
#: It takes a refused token and a loss of a new stream to call these.
NEVER = {"renewToken", "clear"}


@pytest.fixture
def url(redis_server: RedisServer, prefix: str) -> Iterator[str]:
    env = {"TEST_REDIS_EVENTS_URL": redis_server.url, "TEST_REDIS_EVENTS_PREFIX": prefix}
    with Gunicorn("tests.support.apps.documented:create_app()", env=env) as server:
        yield server.url


def test_the_javascript_of_the_pages_runs(
    url: str, redis_server: RedisServer, prefix: str, browse: Browse
):
    """Each block runs without an error; each of its functions gets the event that it waits for."""
    browser, emitter = browse(), Emitter(redis_server.url, prefix=prefix)
    with emitter.run("answer:7") as run:
        run.send("Because")
    for block in BLOCKS:
        # A closed tab keeps no connection; a page that was left may, in the back/forward cache.
        [first] = browser.window_handles
        browser.switch_to.new_window("tab")
        browser.get(f"{url}/page/{block.line}/{block.page}")
        known = browser.execute_script("return names.split(' ')")
        named = {name for name in known if re.search(rf"\b{name}\(|: {name}\b", block.text)}

        def are_called(named: set[str] = named - NEVER) -> bool:
            for event in (None, "order", "payment", "join", "leave", "remove"):
                emitter.emit("documented", {"id": 7, "identity": "ada"}, event=event)
            return named <= set(browser.execute_script("return called"))

        wait_until(are_called, 20, f"{block.place} does not call {named}")
        assert browser.execute_script("return failed") == [], block.place
        browser.close()
        browser.switch_to.window(first)
    emitter.close()
