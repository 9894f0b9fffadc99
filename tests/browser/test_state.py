"""The documentation's pages that load a state and listen for its changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from tests.e2e.conftest import App, starting
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Browse

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def app(redis_server: RedisServer, prefix: str) -> Iterator[App]:
    with starting(redis_server, prefix) as start:
        yield start(app="tests.support.apps.pages:create_app()")


def script(page: WebDriver, expression: str) -> Any:
    return page.execute_script(f"return {expression}")


def test_no_event_falls_between_the_state_and_the_stream(app: App, browse: Browse):
    """A page that listens first shows the events that came in before, while and after it loads."""
    page = browse()
    for number in range(2):
        app.emit("orders", number)
    page.get(f"{app.url}/orders/page")
    wait_until(lambda: script(page, "shown.length") == 3, 15)
    app.emit("orders", 3)
    wait_until(lambda: script(page, "shown.length") == 4, 15)
    assert script(page, "shown") == [0, 1, 2, 3]

    page.execute_script("shown = []; source.dispatchEvent(new MessageEvent('reset'))")
    wait_until(lambda: script(page, "shown.length") == 5, 15)
    assert script(page, "shown") == [0, 1, 2, 3, 4]


def test_the_module_loads_the_state(app: App, browse: Browse):
    """The module's example shows the orders once, and those that come; it tells its state."""
    page = browse()
    for number in range(2):
        app.emit("orders", number)
    page.get(f"{app.url}/orders/module")
    wait_until(lambda: script(page, "shown.length") == 3, 15)
    app.emit("orders", 3)
    wait_until(lambda: script(page, "shown.length") == 4, 15)
    app.emit("orders", {"id": 2}, event="shipped")
    wait_until(lambda: script(page, "hidden.length") == 1, 15)

    assert script(page, "[shown, hidden]") == [[0, 1, 2, 3], [2]]
    assert script(page, "document.body.dataset.stream") == "live"
