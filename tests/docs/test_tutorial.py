"""The tutorial, followed from an empty directory to a reload of gunicorn."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from tests.browser.conftest import Browse, browse
from tests.docs.blocks import blocks
from tests.docs.walk import Walk
from tests.support.browsers import texts
from tests.support.processes import ROOT
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

__all__ = ["browse"]

pytestmark = pytest.mark.timeout(400)

#: The parts of the project that pip needs to build it.
SOURCES = ("flask_redis_events", "README.md", "LICENSE", "setup.cfg", "pyproject.toml")


@pytest.fixture
def walk(tmp_path: Path, own_redis_server: RedisServer) -> Iterator[Walk]:
    """An empty directory, beside a checkout of the project."""
    checkout, directory = tmp_path / "flask-redis-events", tmp_path / "shop"
    for name in SOURCES:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        checkout.mkdir(exist_ok=True)
        copy(source, checkout / name)
    directory.mkdir()
    with Walk(directory, own_redis_server, PYTHONPATH="") as walk:
        yield walk


class Reader:
    """A reader with the page, who goes on to the next command and to its end."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._left = blocks("tutorial.rst")

    def go_on(self, command: str) -> None:
        """Follow the page, up to and including the block with this command."""
        self.go_to(command)
        self._walk.follow(self._left.pop(0))

    def go_to(self, command: str) -> None:
        """Follow the page, up to the block with this command."""
        while command not in self._left[0].text:
            self._walk.follow(self._left.pop(0))

    @property
    def has_finished(self) -> bool:
        return not self._left


def orders(page: WebDriver) -> list[str]:
    return texts(page, "li")


def order(page: WebDriver, item: str) -> None:
    field = page.find_element(By.NAME, "item")
    field.clear()
    field.send_keys(item)
    page.find_element(By.TAG_NAME, "button").click()


def state(page: WebDriver) -> tuple[str, str | None]:
    """Return what the page says of the job."""
    bar = page.find_element(By.TAG_NAME, "progress")
    return texts(page, "output")[0], bar.get_attribute("value")


def log_in(page: WebDriver, url: str) -> None:
    page.get(url)
    page.find_element(By.NAME, "user").send_keys("ada")
    page.find_element(By.TAG_NAME, "button").click()
    wait_until(lambda: page.find_elements(By.NAME, "item"))


def test_the_tutorial_can_be_followed(walk: Walk, browse: Browse):
    """Each step of the page does what its text says, with two browsers."""
    reader, first, second = Reader(walk), browse(), browse()

    reader.go_on("flask run")
    first.get(walk.flask)
    second.get(walk.flask)
    order(first, "book")
    # The driver does not wait for what a button sends.
    wait_until(lambda: orders(first) == ["book"], 10)
    reader.go_on("curl -d item=pen")
    wait_until(lambda: orders(first) == orders(second) == ["book", "pen"], 10)
    second.refresh()
    wait_until(lambda: orders(second) == ["book", "pen"])

    reader.go_on("export FLASK_SECRET_KEY")
    reader.go_on("curl -s")
    for page in (first, second):
        log_in(page, walk.flask)
    order(second, "ink")
    wait_until(lambda: orders(first) == ["book", "pen", "ink"], 10)
    [tab] = second.window_handles
    second.switch_to.new_window("tab")
    second.get(walk.flask)
    second.execute_script("document.forms[1].requestSubmit()")
    wait_until(lambda: second.find_elements(By.NAME, "user"), 10)
    second.switch_to.window(tab)
    wait_until(lambda: second.find_elements(By.NAME, "user"), 10)
    order(first, "cup")
    wait_until(lambda: orders(first)[-1] == "cup", 10)

    reader.go_to("python jobs.py 1")
    walk.run("flask run")
    first.get(f"{walk.flask}/orders/1")
    job = walk.start("python jobs.py 1")
    wait_until(lambda: state(first)[0] == "packing", 20)
    first.refresh()
    wait_until(lambda: state(first)[0] == "packing")
    assert job.running
    log_in(second, walk.flask)
    second.get(f"{walk.flask}/orders/1")
    wait_until(lambda: state(first) == state(second) == ("finished", "100"), 20)

    reader.go_on("gunicorn --worker-class gevent")
    first.get(walk.gunicorn)
    first.execute_script("window.same = true")
    server = walk.servers[8000]
    old = server.children()
    reader.go_on("kill -HUP")
    order(first, "tea")
    wait_until(lambda: not set(old) & set(server.children()), 20)
    order(first, "jam")
    wait_until(lambda: orders(first)[-2:] == ["tea", "jam"], 20)
    assert first.execute_script("return window.same")
    assert reader.has_finished
