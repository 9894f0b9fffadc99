"""The pages of the example `jobs`, in Chromium."""

from __future__ import annotations

import signal

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.examples.staging import emulate, errors, overflow, wait_live
from tests.support.browsers import Browse, texts
from tests.support.processes import Process
from tests.support.servers import Gunicorn
from tests.support.waiting import wait_until

from .conftest import Run, Work

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(run: Run) -> Gunicorn:
    return run("jobs")


@pytest.fixture
def rq(work: Work) -> Process:
    return work("jobs")


def start(page: Chrome, megabytes: int, *, broken: bool = False) -> None:
    page.find_element(By.CSS_SELECTOR, f"[value='{megabytes}']").click()
    if broken:
        page.find_element(By.NAME, "broken").click()
    page.find_element(By.CSS_SELECTOR, "#start button").click()


def states(page: Chrome) -> list[str]:
    script = "return [...document.querySelectorAll('#jobs .job')].map((job) => job.dataset.state)"
    return list(page.execute_script(script))


def percent(page: Chrome) -> int:
    """Return the percentage of the first job that the page shows."""
    found = page.execute_script("return document.querySelector('.job')?.dataset.percent")
    return int(found or 0)


def text(page: Chrome) -> str:
    return texts(page, ".job .text")[0]


def test_one_starts_and_the_other_cancels(server: Gunicorn, rq: Process, browse: Browse):
    """Two pages show the same job; one is loaded again in its midst, the other one cancels it."""
    one, two = browse(), browse()
    for page in (one, two):
        page.get(server.url)
        wait_live(page)
    start(one, 1024)
    wait_until(lambda: percent(one) > 0 and percent(two) > 0, 30)
    one.refresh()
    seen = percent(one)
    assert seen > 0
    wait_live(one)
    wait_until(lambda: percent(one) > seen, 10)
    two.find_element(By.CSS_SELECTOR, ".stop").click()
    wait_until(lambda: states(one) == states(two) == ["stopped"], 10)

    for page in (one, two):
        assert text(page) == f"Cancelled at {percent(page)} %"
        assert not page.find_element(By.CSS_SELECTOR, ".stop").is_displayed()
        assert errors(page) == []


def test_a_job_ends_for_all_pages(server: Gunicorn, rq: Process, browse: Browse):
    """The list and the job's own page show the end; its stream is over, and a reload shows it."""
    listing, own = browse(), browse()
    listing.get(server.url)
    wait_live(listing)
    start(listing, 64)
    wait_until(lambda: states(listing), 10)
    own.get(listing.find_element(By.CSS_SELECTOR, "#jobs a").get_attribute("href") or "")
    for _ in range(2):
        wait_until(lambda: own.find_element(By.ID, "connection").text == "Ended", 30)

        assert len(own.find_element(By.ID, "digest").text) == 128
        assert text(own) == "Finished"
        own.refresh()
    wait_until(lambda: states(listing) == ["finished"], 10)
    start(listing, 64, broken=True)
    wait_until(lambda: states(listing) == ["failed", "finished"], 30)

    assert "The file is shorter than it was." in text(listing)
    listing.refresh()
    assert states(listing) == ["failed", "finished"]
    assert "Failed at 7" in text(listing)
    assert errors(listing) == errors(own) == []


def test_a_killed_web_worker_is_not_noticed(server: Gunicorn, rq: Process, browse: Browse):
    """The page comes back after `kill -9` of all web workers, and sees the job to its end."""
    page = browse()
    page.get(server.url)
    wait_live(page)
    start(page, 256)
    wait_until(lambda: percent(page) > 0, 30)
    for pid in server.worker_pids():
        server.kill_worker(pid)
    wait_until(lambda: states(page) == ["finished"], 40)

    assert percent(page) == 100


def test_a_killed_job_is_lost(server: Gunicorn, rq: Process, browse: Browse):
    """After `kill -9` of the worker that runs it, the job does not hang for ever."""
    page = browse()
    page.get(server.url)
    wait_live(page)
    start(page, 1024)
    wait_until(lambda: percent(page) > 0, 30)
    rq.signal(signal.SIGKILL)
    wait_until(lambda: states(page) == ["lost"], 30)

    assert "because its worker has died" in text(page)


def test_the_pages_fit_on_a_phone(server: Gunicorn, rq: Process, browse: Browse):
    """No page is wider than the screen of a phone."""
    page = browse()
    emulate(page, phone=True)
    page.get(server.url)
    wait_live(page)
    start(page, 64)
    wait_until(lambda: states(page) == ["finished"], 30)
    assert overflow(page) == 0
    page.find_element(By.CSS_SELECTOR, "#jobs a").click()
    wait_until(lambda: page.find_element(By.ID, "digest").is_displayed(), 20)

    assert overflow(page) == 0
    page.get(f"{server.url}/jobs/unknown")
    assert "There is no such job." in page.find_element(By.TAG_NAME, "main").text
    assert overflow(page) == 0
