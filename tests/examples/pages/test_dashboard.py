"""The page of the example `dashboard`, in Chromium."""

from __future__ import annotations

import signal

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.examples.staging import emulate, errors, overflow, wait_live
from tests.support.browsers import Browse
from tests.support.processes import Process
from tests.support.servers import Gunicorn
from tests.support.waiting import wait_until

from .conftest import Run, Work

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(run: Run) -> Gunicorn:
    return run("dashboard")


@pytest.fixture
def measuring(work: Work) -> Process:
    return work("dashboard")


def times(page: Chrome, metric: str = "cpu") -> list[float]:
    """Return the times of a metric's plot, without those that stand for gaps."""
    script = """
        const { data: [times, values] } = window.plots[arguments[0]];
        return times.filter((_, index) => values[index] !== null);
    """
    return list(page.execute_script(script, metric))


def marks(page: Chrome) -> list[str]:
    return list(page.execute_script("return window.plots.cpu.marks.map((mark) => mark.text)"))


def shown(page: Chrome) -> list[str]:
    script = "return [...document.querySelectorAll('#plots > :not([hidden])')].map(({ id }) => id)"
    return list(page.execute_script(script))


def open_pages(server: Gunicorn, *pages: Chrome) -> None:
    for page in pages:
        page.get(server.url)
        wait_live(page)
    wait_until(lambda: all(len(times(page)) > 2 for page in pages), 20)


def test_pages_agree_and_a_reload_keeps_history(
    server: Gunicorn, measuring: Process, browse: Browse
):
    """Two pages show the same seconds, a mark of one appears in both, and a reload shows it all."""
    one, two = browse(), browse()
    open_pages(server, one, two)
    one.find_element(By.NAME, "text").send_keys("Release 2\n")
    wait_until(lambda: marks(one) == marks(two) == ["Release 2"], 10)
    seen = times(one)
    assert set(times(two)) >= set(seen)
    two.refresh()
    wait_live(two)
    wait_until(lambda: set(times(two)) >= set(seen), 10)
    wait_until(lambda: marks(two) == ["Release 2"], 10)

    assert times(two) == sorted(set(times(two)))
    assert one.find_element(By.CSS_SELECTOR, "#memory output").text.endswith("B")
    assert errors(one) == errors(two) == []


def test_a_page_chooses_its_metrics(server: Gunicorn, measuring: Process, browse: Browse):
    """A metric that is chosen comes with its history; the address keeps the choice."""
    page = browse()
    open_pages(server, page)
    assert shown(page) == ["cpu", "memory", "network", "disk"]
    for name in ("memory", "network", "disk", "load"):
        page.find_element(By.CSS_SELECTOR, f".chip:has([value='{name}'])").click()
    wait_until(lambda: len(times(page, "load")) > 2, 10)
    assert shown(page) == ["cpu", "load"]
    page.refresh()
    wait_live(page)
    assert shown(page) == ["cpu", "load"]
    wait_until(lambda: len(times(page, "load")) > 2, 10)
    for name in ("cpu", "load"):
        page.find_element(By.CSS_SELECTOR, f".chip:has([value='{name}'])").click()

    assert page.find_element(By.ID, "nothing").is_displayed()
    assert errors(page) == []


def test_a_killed_web_worker_leaves_no_gap(server: Gunicorn, measuring: Process, browse: Browse):
    """After `kill -9` of all web workers the page has each second once."""
    page = browse()
    open_pages(server, page)
    for pid in server.worker_pids():
        server.kill_worker(pid)
    before = len(times(page))
    wait_until(lambda: len(times(page)) > before + 8, 40)

    found = times(page)
    assert found == sorted(set(found))
    late = browse()
    open_pages(server, late)
    assert set(times(late)) >= set(found)


def test_a_new_measuring_process_goes_on(server: Gunicorn, measuring: Process, browse: Browse):
    """The plot goes on when the process that measures has been replaced, with a gap between."""
    page = browse()
    open_pages(server, page)
    measuring.end(signal.SIGKILL)
    before = len(times(page))
    measuring.start()

    wait_until(lambda: len(times(page)) > before + 2, 20)


def test_the_page_fits_on_a_phone(server: Gunicorn, measuring: Process, browse: Browse):
    """The page is not wider than the screen, and its plots have its width."""
    page = browse()
    emulate(page, phone=True)
    open_pages(server, page)
    width = page.execute_script("return document.querySelector('#cpu canvas').clientWidth")

    assert overflow(page) == 0
    assert 300 < width < 390
