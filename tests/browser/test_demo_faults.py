"""The demo's faults: each button is pressed, and the page's own numbers prove that all is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.demo import Demo, running
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Browse
from .test_demo import errors, is_live, see, text

pytestmark = pytest.mark.timeout(240)

#: How long a fault and its repair may take on a busy machine, in seconds.
REPAIR = 60


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("demo") / "demo.log") as demo:
        yield demo


@pytest.fixture
def page(demo: Demo, browse: Browse) -> Chrome:
    page = browse()
    see(page, demo)
    return page


def press(page: Chrome, name: str) -> None:
    page.find_element(By.CSS_SELECTOR, f"[data-fault={name}]").click()


def truth(page: Chrome) -> dict[str, Any]:
    """Return what the table says, and the sentence above it, all of the same moment."""
    shown = page.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('#truth dd, #reason')]"
        ".map(({id, textContent}) => [id, textContent.replaceAll(',', '')]))"
    )
    return {name: int(value) if value.isdecimal() else value for name, value in shown.items()}


def prove(page: Chrome, label: str, *, missed: int) -> None:
    """Wait until a fault is over; then all that was missed is here, once and in order."""
    story = "#story li[data-done=right]"
    wait_until(
        lambda: page.find_elements(By.CSS_SELECTOR, story), REPAIR, lambda: text(page, "#story")
    )
    wait_until(lambda: is_live(page), 20)
    told = truth(page)

    assert label in text(page, "#story")
    assert told["sent"] == told["received"]
    assert told["missing"] == told["twice"] == told["disordered"] == 0
    assert told["recovered"] == told["missed"] >= missed
    assert told["reason"] == f"All {told['sent']} are here in order each once."
    assert errors_of_the_page(page) == []


def errors_of_the_page(page: Chrome) -> list[str]:
    """Return the errors of the page's own code; Chromium also logs each connection that is lost."""
    return [error for error in errors(page) if "net::ERR" not in error]


def wait_for_state(page: Chrome, state: str) -> None:
    pill = page.find_element(By.ID, "status")
    wait_until(lambda: pill.get_attribute("data-state") == state, 20, lambda: pill.text)


def test_my_connection_is_cut(page: Chrome):
    """The page is away until it has a new connection, and recovers what it missed."""
    before = page.execute_script("return window.demo.tabs.connection().port")
    press(page, "cut")
    wait_for_state(page, "away")
    assert text(page, "#verdict") == "You are away."

    prove(page, "Cut my connection", missed=1)
    assert page.execute_script("return window.demo.tabs.connection().port") != before
    assert re.search(r"You missed (\d+), got \1\.", text(page, "#story"))


def test_my_worker_is_killed(page: Chrome, demo: Demo):
    """Another worker takes the page over, and the page shows which one."""
    before = wait_until(lambda: truth(page)["worker"] in demo.workers() and truth(page)["worker"])
    press(page, "kill")

    prove(page, "Kill my worker", missed=1)
    after = truth(page)["worker"]
    assert before not in demo.workers()
    wait_until(lambda: after in demo.workers())
    assert f"Worker {before} → {after}" in text(page, "#story")
    assert f"worker {after}" in text(page, "#status")


def test_all_workers_are_reloaded(page: Chrome, demo: Demo):
    """New workers take the place of all old ones, and the page misses nothing."""
    before = demo.workers()
    press(page, "reload")
    wait_until(lambda: set(before).isdisjoint(demo.workers()), REPAIR)

    prove(page, "Reload all workers", missed=1)


def test_redis_is_frozen(page: Chrome, demo: Demo):
    """While nothing can arrive, the page does not call itself live, though the worker answers."""
    press(page, "freeze")
    wait_for_state(page, "silent")
    assert demo.child("redis-server").status() == "stopped"
    assert text(page, "#state") == "open, but silent"
    assert text(page, "#verdict") == "Nothing arrives."
    wait_until(lambda: "the worker answers, nothing comes from Redis" in text(page, "#who"), 10)

    prove(page, "Freeze Redis for 5 s", missed=10)
    assert re.search(r"(\d+) numbers waited, \1 arrived\.", text(page, "#story"))


def test_redis_is_restarted(page: Chrome, demo: Demo):
    """A Redis that keeps its data keeps all events, and the page is not live meanwhile."""
    before = demo.child("redis-server").pid
    press(page, "restart")
    wait_for_state(page, "silent")

    prove(page, "Restart Redis", missed=4)
    assert demo.child("redis-server").pid != before


def test_a_flood(page: Chrome):
    """A thousand events at once arrive in order."""
    before = truth(page)["sent"]
    press(page, "flood")

    prove(page, "Flood", missed=0)
    assert "1,000 of 1,000 numbers" in text(page, "#story")
    assert truth(page)["sent"] >= before + 1_000


def test_a_page_goes_offline_and_a_flood_passes(page: Chrome):
    """By keyboard: a page that was offline during a flood gets all of it when it comes back."""
    button = page.find_element(By.CSS_SELECTOR, "[data-fault=offline]")
    button.send_keys(Keys.ENTER)
    wait_for_state(page, "offline")
    assert button.text.startswith("Come back")
    assert truth(page)["worker"] == "–"
    page.execute_script("window.sent = fetch('faults/flood', {method: 'POST'})")
    wait_until(lambda: page.execute_script("return window.sent.then(({status}) => status === 204)"))
    # The page is told nothing now, so another client of the server has to look.
    wait_until(lambda: page.execute_script(HEARD_ELSEWHERE, 1_000), 30)
    button.send_keys(Keys.ENTER)

    prove(page, "Go offline", missed=1_000)
    assert button.text.startswith("Go offline")


#: Whether a stream that begins where the page ended brings so many events.
HEARD_ELSEWHERE = """
const reader = (await fetch(`events?last_event_id=${window.demo.position()}`)).body.getReader();
let text = "";
for (const until = Date.now() + 2000; Date.now() < until;) {
  const { value } = await reader.read();
  text += new TextDecoder().decode(value);
  if (text.split("event: number").length > arguments[0]) break;
}
reader.cancel();
return text.split("event: number").length > arguments[0];
"""


def test_tabs_share_a_connection(page: Chrome, demo: Demo):
    """Three tabs say that they have one connection, and all of them are right after it is cut."""
    for _ in range(2):
        page.find_element(By.CSS_SELECTOR, "#faults a.button").click()
        page.switch_to.window(page.window_handles[-1])
        wait_until(lambda: is_live(page), 30)
    for tab in page.window_handles:
        page.switch_to.window(tab)
        wait_until(lambda: text(page, "#tabs") == "3 tabs, one connection", 20)

    press(page, "cut")
    for tab in page.window_handles:
        page.switch_to.window(tab)
        prove(page, "Cut my connection", missed=1)
    page.switch_to.window(page.window_handles[0])
    assert "in another tab" in text(page, "#story")
    page.close()
    page.switch_to.window(page.window_handles[0])
    wait_until(lambda: text(page, "#tabs") == "2 tabs, one connection", 20)


def test_a_tab_that_was_offline_is_no_burden(page: Chrome):
    """A tab that comes back gets what it missed, and the tab that stayed gets nothing twice."""
    [stayed] = page.window_handles
    page.find_element(By.CSS_SELECTOR, "#faults a.button").click()
    page.switch_to.window(page.window_handles[-1])
    wait_until(lambda: is_live(page), 30)
    press(page, "offline")
    wait_for_state(page, "offline")
    sent = page.execute_script("return window.demo.truth.top")
    page.switch_to.window(stayed)
    wait_until(lambda: page.execute_script("return window.demo.truth.top") >= sent + 8, 20)
    page.switch_to.window(page.window_handles[-1])
    press(page, "offline")

    prove(page, "Go offline", missed=8)
    page.switch_to.window(stayed)
    told = truth(page)
    assert told["missing"] == told["twice"] == told["disordered"] == told["missed"] == 0


def test_lost_events_are_called_lost(own_redis_server: RedisServer, tmp_path: Path, browse: Browse):
    """If Redis has lost its data, the page shows how many events are gone, and claims nothing."""
    with running(tmp_path / "demo.log", REDIS_EVENTS_URL=own_redis_server.url) as demo:
        page = browse()
        see(page, demo)
        press(page, "offline")
        wait_for_state(page, "offline")
        wait_until(lambda: "≈ 1" in text(page, "#missing"), 20)
        own_redis_server.client().flushdb()
        press(page, "offline")
        wait_until(lambda: page.find_elements(By.CSS_SELECTOR, "#story li[data-done=wrong]"), 30)

        assert re.search(r"\d+ are lost, as the server has said", text(page, "#reason"))
        assert page.find_elements(By.CSS_SELECTOR, "#ribbon .wrong")
        assert text(page, "[data-fault=offline]").startswith("Go offline")


def test_on_a_phone(page: Chrome):
    """A phone shows the numbers and the buttons first, and nothing is wider than it."""
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    tops = "['#happens', '#seen'].map((s) => document.querySelector(s).getBoundingClientRect().top)"
    wait_until(lambda: page.execute_script("return innerWidth") == 390)

    assert page.execute_script("return document.documentElement.scrollWidth") == 390
    happens, seen = page.execute_script(f"return {tops}")
    assert happens < 250
    assert seen > happens + 400
