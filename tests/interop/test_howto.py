"""The pages of "htmx, Turbo, Datastar: a list that grows", with the real libraries."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_redis_events import Emitter
from tests.browser.conftest import Browse
from tests.docs.blocks import blocks
from tests.docs.walk import Walk
from tests.support.browsers import texts
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .test_hypermedia import static

__all__ = ["static"]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def walk(tmp_path: Path, static: Path, own_redis_server: RedisServer) -> Iterator[Walk]:
    shutil.copytree(static, tmp_path / "static")
    # Where the page has the library itself; a module of the documentation has that name, too.
    shutil.move(tmp_path / "static" / "turbo-umd.js", tmp_path / "static" / "turbo.js")
    with Walk(tmp_path, own_redis_server) as walk:
        yield walk


def test_each_page_has_the_item(walk: Walk, own_redis_server: RedisServer, browse: Browse):
    """An item from before the page is there, and one from after it appears, in each library."""
    emitter = Emitter(own_redis_server.url)
    emitter.emit("items", {"item": "<book>"})
    *files, gunicorn, create = blocks("howto/hypermedia.rst")
    for block in (*files, gunicorn):
        walk.follow(block)
    pages = [browse() for _ in range(3)]
    for page, library in zip(pages, ("htmx", "turbo", "datastar"), strict=True):
        page.get(f"{walk.gunicorn}/{library}")

    def shown() -> list[list[str]]:
        return [texts(page, "li") for page in pages]

    assert shown() == [["<book>"]] * 3
    walk.follow(create)
    wait_until(lambda: shown() == [["<book>", "pen"]] * 3, 20, lambda: str(shown()))
    emitter.close()
