"""The commands of the pages are run, with the files that the pages show beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.docs.test_blocks import NOT_RUN
from tests.docs.walk import Walk
from tests.support.servers import RedisServer

pytestmark = pytest.mark.timeout(180)

#: The tutorial has a test of its own, with browsers.
PAGES = sorted(
    {b.page for b in blocks() if b.language == "bash" and b not in NOT_RUN} - {"tutorial.rst"}
)
#: What would take too long.
SHORTER = {"-c 2000 --seconds 30": "-c 20 --seconds 2"}


@pytest.fixture
def walk(tmp_path: Path, own_redis_server: RedisServer) -> Iterator[Walk]:
    """A directory with the quickstart's `app.py`, which the other pages suppose to be there."""
    with Walk(tmp_path, own_redis_server) as walk:
        walk.replace |= SHORTER
        [app] = [block for block in blocks("quickstart.rst") if block.caption == "app.py"]
        walk.follow(app)
        yield walk


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_it_says(page: str, walk: Walk):
    """Each command succeeds, and shows what the page shows."""
    for block in blocks(page):
        if block not in NOT_RUN:
            walk.follow(block)
    walk.check()


def test_redis_takes_the_configuration(tmp_path: Path):
    """A Redis starts with the documented lines, and says that it has them."""
    [block] = [block for block in blocks("deploying.rst") if block.caption == "redis.conf"]
    file = tmp_path / "redis.conf"
    file.write_text(block.text)
    with RedisServer(tmp_path, arguments=["--include", str(file)]) as server:
        limits = server.client(decode_responses=True).config_get("maxmemory-policy", "appendonly")

        assert limits == {"maxmemory-policy": "noeviction", "appendonly": "yes"}
