"""The page of the patterns, in Chromium."""

from __future__ import annotations

import json

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.examples.staging import emulate, errors, overflow, state, wait_live
from tests.support.browsers import Browse, texts
from tests.support.servers import Gunicorn
from tests.support.waiting import wait_until

from .conftest import Run

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(run: Run) -> Gunicorn:
    return run("patterns")


def click(page: Chrome, label: str) -> None:
    page.find_element(By.XPATH, f"//button[text()='{label}']").click()


def lines(page: Chrome, stream: int = 1) -> list[list[str]]:
    """Return the name and the data of each line that a stream has, without what was emitted."""
    found = texts(page, f"section:nth-of-type({stream}) li:not(.emitted)")
    return [line.split("\n")[1:] for line in found]


def test_each_pattern_has_a_page(server: Gunicorn, browse: Browse):
    """All files are listed; each page is live, and shows its file."""
    page = browse()
    page.get(server.url)
    names = [name.removesuffix(".py") for name in texts(page, "nav b")]
    assert {"newest", "present", "polling"} < set(names)
    links = page.execute_script("return [...document.querySelectorAll('nav li a')].map(String)")
    for name, link in zip(names, links, strict=True):
        page.get(link)
        wait_live(page)

        assert page.title == f"{name} – Patterns"
        assert "def create_app" in page.find_element(By.TAG_NAME, "pre").get_property("textContent")
    assert errors(page) == []


@pytest.mark.parametrize(
    "name, label, data",
    [
        ("newest", "Ten values", [1, 10]),
        (
            "batches",
            "Three orders",
            [
                {
                    "count": 3,
                    "batch": [
                        {"data": data, "channel": "orders"}
                        for data in ("a book", "a lamp", "a chair")
                    ],
                }
            ],
        ),
        ("present", "EUR/GBP changes", [{"pair": "EURGBP", "price": n} for n in (0.87, 0.86)]),
    ],
)
def test_what_a_button_emits_is_shown(
    server: Gunicorn, browse: Browse, name: str, label: str, data: list[object]
):
    """The page shows what the pattern makes of the values."""
    page = browse()
    page.get(f"{server.url}/{name}")
    wait_live(page)
    click(page, label)
    wait_until(lambda: len(lines(page)) == len(data), 10, lambda: str(lines(page)))

    assert [[event, json.loads(text)] for event, text in lines(page)] == [
        ["message", one] for one in data
    ]
    assert errors(page) == []


def test_streams_stand_side_by_side(server: Gunicorn, browse: Browse):
    """Two clients with different wishes get different events."""
    page = browse()
    page.get(f"{server.url}/conditional")
    wait_live(page)
    for priority in (6, 9):
        click(page, f"Priority {priority}")
    urgent = [["title", '{"title":"Urgent!"}'], ["message", '{"priority":9}']]
    wait_until(lambda: len(lines(page)) == 3 and len(lines(page, 2)) == 2, 10)

    assert lines(page) == [["message", '{"priority":6}'], *urgent]
    assert lines(page, 2) == urgent


def test_a_stream_that_ends_is_over(server: Gunicorn, browse: Browse):
    """Silence is told, and after the timeout the page asks for nothing more."""
    page = browse()
    page.get(f"{server.url}/lifetime")
    wait_until(lambda: state(page) == "ended", 60)

    assert [name for name, _ in lines(page)][-2:] == ["silence", "timeout"]
    assert errors(page) == []


def test_the_page_fits_on_a_phone(server: Gunicorn, browse: Browse):
    """No pattern's page is wider than the screen, also with its code shown."""
    page = browse()
    emulate(page, phone=True)
    for name in ("conditional", "batches"):
        page.get(f"{server.url}/{name}")
        page.find_element(By.TAG_NAME, "summary").click()

        assert overflow(page) == 0
