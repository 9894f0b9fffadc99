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


@pytest.mark.parametrize("client", ["module", "source"])
def test_a_page_shows_the_present(
    own_redis_server: RedisServer, prefix: str, browse: Browse, client: str
):
    """Its values, their changes and removals; after a loss it begins anew by itself."""
    with starting(own_redis_server, prefix) as start:
        app = start(app="tests.support.apps.pages:create_app()")

        def emit(symbol: str, price: int | None) -> None:
            assert app.request("POST", "/prices", [symbol, price])[0] == 200

        def shows(text: str) -> None:
            element = "document.querySelector('#prices').textContent"
            wait_until(lambda: script(page, element) == text, 20, lambda: script(page, element))

        for price in (1, 2):
            emit("EUR", price)
            emit("USD", price)
        page = browse()
        page.get(f"{app.url}/prices/{client}")
        shows("EUR 2, USD 2")
        emit("EUR", 3)
        shows("EUR 3, USD 2")
        emit("USD", None)
        shows("EUR 3")
        # A worker that is killed: the page resumes.
        app.server.kill_worker(app.server.worker_pids()[0])
        emit("JPY", 4)
        shows("EUR 3, JPY 4")
        # Redis loses all but the state: the page forgets its values, and comes back for the state.
        emit("JPY", 5)
        shows("EUR 3, JPY 5")
        redis, name = own_redis_server.client(), f"{prefix}state:prices"
        state: Any = redis.hgetall(name)
        redis.flushall()
        redis.hset(name, mapping=state)
        emit("CHF", 6)
        shows("EUR 3, JPY 5, CHF 6")
