"""The demo's pages as their users see them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from tests.support.browsers import texts
from tests.support.demo import Demo, running
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Browse

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with running(tmp_path / "demo.log") as demo:
        yield demo


def script(page: WebDriver, expression: str) -> Any:
    return page.execute_script(f"return {expression}")


def text(page: WebDriver, selector: str) -> str:
    return texts(page, selector)[0]


def errors(page: Chrome) -> list[str]:
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def is_live(page: WebDriver) -> bool:
    return text(page, "#state") == "live" and script(page, "window.demo.truth.sent") > 0


def see(page: WebDriver, demo: Demo) -> None:
    """Open the demo's page, and wait until it is live."""
    page.get(demo.url)
    wait_until(functools.partial(is_live, page), 30)


def start_a_job(page: WebDriver) -> None:
    button = page.find_element(By.ID, "start")
    wait_until(button.is_enabled, 20)
    button.click()


def statuses(page: Chrome, url: str) -> list[int]:
    """Return the statuses of the answers to the browser's requests of a URL."""
    found = []
    for entry in page.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.responseReceived":
            response = message["params"]["response"]
            if response["url"] == url:
                found.append(response["status"])
    return found


def test_the_page_is_live(demo: Demo, browse: Browse):
    """The charts move, a chat line reaches another page, and a job runs to its end."""
    one, two = browse(), browse()
    for page in (one, two):
        see(page, demo)

    first = script(one, "window.demo.points()")
    wait_until(lambda: script(one, "window.demo.points()") >= first + 2, 20)
    assert script(one, "document.querySelectorAll('canvas').length") == 3
    assert text(one, "#cpu-now").endswith("%")

    one.find_element(By.NAME, "name").send_keys("Ada")
    one.find_element(By.NAME, "text").send_keys("<b>hello</b>")
    one.find_element(By.CSS_SELECTOR, "#say button").click()
    wait_until(lambda: "Ada <b>hello</b>" in text(two, "#lines"), 20)

    start_a_job(one)
    wait_until(lambda: "done" in text(two, "#running"), 40)
    name = text(two, "#running a")
    assert re.fullmatch(r"[A-Z][a-z]+ [a-z]+", name)
    assert f"{name}: done" in text(two, "#log")

    late = browse()
    see(late, demo)
    wait_until(lambda: "Ada <b>hello</b>" in text(late, "#lines"), 10)
    assert name in text(late, "#running")
    assert script(late, "window.demo.points()") > 2
    for page in (one, two, late):
        assert errors(page) == []


def test_a_finished_job_is_not_asked_for_again(demo: Demo, browse: Browse):
    """A job's page is told of the end, and sends no further request."""
    page = browse()
    see(page, demo)
    start_a_job(page)
    wait_until(lambda: page.find_elements(By.CSS_SELECTOR, "#running a"), 10)
    link = page.find_element(By.CSS_SELECTOR, "#running a")
    name, url = link.text, link.get_attribute("href")
    assert url
    for _ in range(2):
        page.get(url)
        wait_until(lambda: "the stream is over" in text(page, "#state"), 40)

        assert text(page, "h1") == f"Job {name}"
        assert text(page, "#percent") == "100 %"
        assert statuses(page, f"{url}/events") == [200]
        assert errors(page) == []


def test_a_job_goes_on_without_its_workers(demo: Demo, browse: Browse):
    """A page sees the end of its job although all workers were killed meanwhile."""
    page = browse()
    see(page, demo)
    start_a_job(page)
    wait_until(lambda: "%" in text(page, "#running"), 20)
    for worker in demo.workers():
        psutil.Process(worker).kill()

    wait_until(lambda: "done" in text(page, "#running"), 60)
    assert script(page, "window.demo.truth.twice + window.demo.truth.holes.size") == 0


def test_a_page_waits_for_the_server(demo: Demo, browse: Browse):
    """A page that stays open after the demo ends is live again when a demo starts."""
    page = browse()
    see(page, demo)
    page.execute_script("window.mark = true")
    run = script(page, "window.demo.truth.run")
    demo.stop()
    wait_until(lambda: text(page, "#state") == "away", 20)
    demo.start()
    wait_until(lambda: script(page, "window.demo.truth.run") != run, 60)
    wait_until(lambda: is_live(page), 10)

    assert script(page, "window.mark")


def test_a_page_that_comes_back_goes_on(demo: Demo, webkit: WebDriver):
    """A page that was kept while its user was elsewhere has each number once when it is shown."""
    see(webkit, demo)
    webkit.execute_script("addEventListener('pageshow', () => { window.shownAt = Date.now(); })")
    sent = script(webkit, "window.demo.truth.sent")
    webkit.get(f"{demo.url}jobs/00000000-0000-4000-8000-000000000000")
    webkit.back()

    # A source that revives comes back after `retry`, which is three seconds.
    wait_until(lambda: script(webkit, "Date.now() - (window.shownAt ?? Infinity)") > 5000, 20)
    wait_until(lambda: is_live(webkit), 20)
    wait_until(lambda: script(webkit, "window.demo.truth.sent") > sent + 8, 20)
    truth = "((t) => [t.twice, t.disordered, t.holes.size])(window.demo.truth)"
    assert script(webkit, truth) == [0, 0, 0]


def test_a_job_outlives_its_redis(own_redis_server: RedisServer, tmp_path: Path, browse: Browse):
    """A page sees a job's end even if Redis restarts during the job and loses its data."""
    with running(tmp_path / "demo.log", REDIS_EVENTS_URL=own_redis_server.url) as demo:
        page = browse()
        see(page, demo)
        start_a_job(page)
        wait_until(lambda: "%" in text(page, "#running"), 20)
        own_redis_server.restart()
        wait_until(lambda: "done" in text(page, "#running"), 60)

    assert "Traceback" not in demo.log.read_text()


def test_what_cannot_be_sent_is_said_beside_it(
    own_redis_server: RedisServer, tmp_path: Path, browse: Browse
):
    """A chat line that cannot be sent stays in its field, beside the error."""
    with running(tmp_path / "demo.log", REDIS_EVENTS_URL=own_redis_server.url) as demo:
        page = browse()
        see(page, demo)
        assert text(page, "#chat .trouble") == ""
        own_redis_server.stop()
        page.find_element(By.NAME, "name").send_keys("Ada")
        page.find_element(By.NAME, "text").send_keys("hello", Keys.ENTER)
        wait_until(lambda: "try again" in text(page, "#chat .trouble"), 30)
        assert page.find_element(By.NAME, "text").get_attribute("value") == "hello"
        own_redis_server.start()
        wait_until(lambda: is_live(page), 30)
        page.find_element(By.NAME, "text").send_keys(Keys.ENTER)
        wait_until(lambda: "Ada hello" in text(page, "#lines"), 20)

        assert text(page, "#chat .trouble") == ""


def test_a_job_that_is_unknown_is_said(demo: Demo, browse: Browse):
    """The page of an unknown job says so, instead of waiting."""
    page = browse()
    page.get(f"{demo.url}jobs/00000000-0000-4000-8000-000000000000")

    assert text(page, "h1") == "No such job"
