"""The pages of the example `assistant`, in Chromium."""

from __future__ import annotations

import signal

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.examples.staging import emulate, errors, overflow
from tests.support.browsers import Browse
from tests.support.processes import Process
from tests.support.servers import Gunicorn
from tests.support.waiting import wait_until

from .conftest import Run, Work

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(run: Run) -> Gunicorn:
    return run("assistant")


@pytest.fixture
def rq(work: Work) -> Process:
    return work("assistant")


def ask(page: Chrome, url: str) -> None:
    page.get(url)
    page.find_element(By.NAME, "question").send_keys("Is the <b>river</b> deep?\n")
    wait_until(lambda: len(words(page)) > 5, 40)


def words(page: Chrome) -> list[str]:
    text = page.execute_script("return document.getElementById('answer')?.textContent")
    return str(text or "").split()


def state(page: Chrome) -> str:
    return str(page.execute_script("return document.getElementById('answer').dataset.state"))


def test_a_reload_and_a_second_viewer_lose_nothing(server: Gunicorn, rq: Process, browse: Browse):
    """Both have the whole answer at its end, and the question as it was written."""
    one, two = browse(), browse()
    ask(one, server.url)
    one.refresh()
    two.get(one.current_url)
    wait_until(lambda: state(one) == state(two) == "finished", 40)

    assert words(one) == words(two)
    assert len(words(one)) == 200
    for page in (one, two):
        assert page.find_element(By.TAG_NAME, "h1").text == "Is the <b>river</b> deep?"
        assert errors(page) == []


def test_one_stops_the_answer_for_all(server: Gunicorn, rq: Process, browse: Browse):
    """The second viewer's button ends the answer in both pages, and a reload shows it."""
    one, two = browse(), browse()
    ask(one, server.url)
    two.get(one.current_url)
    wait_until(lambda: len(words(two)) > 5, 10)
    two.find_element(By.ID, "stop").click()
    wait_until(lambda: state(one) == state(two) == "stopped", 10)
    one.refresh()
    wait_until(lambda: state(one) == "stopped", 10)

    assert words(one) == words(two)
    assert 5 < len(words(one)) < 200
    assert not one.find_element(By.ID, "stop").is_displayed()


def test_an_answer_of_a_killed_worker_is_lost(server: Gunicorn, rq: Process, browse: Browse):
    """The page says so, and keeps the words that have come."""
    page = browse()
    ask(page, server.url)
    rq.signal(signal.SIGKILL)
    wait_until(lambda: state(page) == "lost", 30)

    assert "its worker has died" in page.find_element(By.ID, "state").text
    assert len(words(page)) > 5


def test_the_pages_fit_on_a_phone(server: Gunicorn, rq: Process, browse: Browse):
    """No page is wider than the screen of a phone."""
    page = browse()
    emulate(page, phone=True)
    page.get(server.url)
    assert overflow(page) == 0
    page.find_element(By.CSS_SELECTOR, ".ideas button").click()
    # More than a line, while the answer still comes.
    wait_until(lambda: len(words(page)) > 40, 40)

    assert overflow(page) == 0
    assert errors(page) == []
