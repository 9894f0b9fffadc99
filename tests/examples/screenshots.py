"""`python -m tests.examples.screenshots`: take the pictures of the examples anew.

They are written to docs/examples/, or to the directory that is given: on a desktop, in dark colours
and on a phone.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.support.browsers import open_chromium
from tests.support.processes import ROOT
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .staging import emulate, environment, serve, sign_up, wait_live, worker

Open = Callable[[], webdriver.Chrome]


def notifications(url: str, open_page: Open) -> webdriver.Chrome:
    ada, bob = open_page(), open_page()
    sign_up(ada, url, "ada")
    sign_up(bob, url, "bob")
    for text in (
        "Welcome! Here you hear of everything that concerns you.",
        "Your report for October is ready.",
        "Can you look at the figures before noon? I would like to send them out today.",
        "Dinner at eight?",
    ):
        notify(bob, text)
    wait_until(lambda: len(ada.find_elements(By.CLASS_NAME, "note")) == 4)
    for button in ada.find_elements(By.CSS_SELECTOR, ".note button")[2:]:
        button.click()
    wait_until(lambda: ada.find_element(By.ID, "unread").text == "2")
    return ada


def notify(page: webdriver.Chrome, text: str) -> None:
    page.find_element(By.NAME, "to").clear()
    page.find_element(By.NAME, "to").send_keys("ada")
    page.find_element(By.NAME, "text").send_keys(text, "\n")
    wait_until(lambda: not page.find_element(By.NAME, "text").get_attribute("value"))


def chat(url: str, open_page: Open) -> webdriver.Chrome:
    ada, bob, cleo = open_page(), open_page(), open_page()
    for page, name in ((ada, "ada"), (bob, "bob"), (cleo, "cleo")):
        sign_up(page, f"{url}/rooms/lobby", name)
        wait_live(page)
    bob.get(f"{url}/rooms/kitchen")
    say(bob, "There is cake.")
    ada.get(f"{url}/rooms/release-2")
    say(ada, "Here we talk of the next release.")
    for page in (ada, bob):
        page.get(f"{url}/rooms/lobby")
        wait_live(page)
    for page, text in (
        (bob, "Good morning! Is the new version out?"),
        (ada, "It is on the first two servers since nine."),
        (ada, "Nobody was logged out, and no message was lost."),
        (cleo, "I had the chat open all the time, and did not notice anything."),
        (bob, "Neither did I. That is how it should be."),
        (ada, "Then the others follow at noon."),
    ):
        say(page, text)
    field = cleo.find_element(By.NAME, "text")

    def is_shown() -> bool:
        field.send_keys("x")
        return "typing" in ada.find_element(By.ID, "status").text

    wait_until(is_shown)
    return ada


def say(page: webdriver.Chrome, text: str) -> None:
    field = page.find_element(By.NAME, "text")
    field.send_keys(text, "\n")
    wait_until(lambda: not field.get_attribute("value"))


def jobs(url: str, open_page: Open) -> webdriver.Chrome:
    page = open_page()
    page.get(url)
    wait_live(page)
    start(page, 64)
    wait_until(lambda: newest_job(page)[:2] == [1, "finished"], 60)
    page.find_element(By.NAME, "broken").click()
    start(page, 64)
    wait_until(lambda: newest_job(page)[:2] == [2, "failed"], 60)
    page.find_element(By.NAME, "broken").click()
    start(page, 1024)
    wait_until(lambda: newest_job(page)[1:] == ["running", "20"], 60)
    page.find_element(By.CSS_SELECTOR, ".stop").click()
    wait_until(lambda: newest_job(page)[1] == "stopped", 60)
    start(page, 1024)
    wait_until(lambda: newest_job(page)[1:] == ["running", "30"], 60)
    start(page, 256)
    wait_until(lambda: newest_job(page)[:2] == [5, "pending"], 60)
    return page


def start(page: webdriver.Chrome, megabytes: int) -> None:
    page.find_element(By.CSS_SELECTOR, f"[value='{megabytes}']").click()
    page.find_element(By.CSS_SELECTOR, "#start button").click()


def newest_job(page: webdriver.Chrome) -> list[Any]:
    """Return the number of jobs, and the newest one's state and percentage."""
    script = """
        const jobs = document.querySelectorAll("#jobs .job");
        return [jobs.length, jobs[0]?.dataset.state, jobs[0]?.dataset.percent];
    """
    return list(page.execute_script(script))


def dashboard(url: str, open_page: Open) -> webdriver.Chrome:
    page = open_page()
    page.get(url)
    wait_live(page)
    seconds = "return plots.cpu.data[0].length"
    wait_until(lambda: page.execute_script(seconds) > 40, 60)
    page.find_element(By.NAME, "text").send_keys("Release 2", "\n")
    wait_until(lambda: page.execute_script(seconds) > 60, 60)
    return page


def assistant(url: str, open_page: Open) -> webdriver.Chrome:
    page = open_page()
    page.get(url)
    page.find_element(By.CSS_SELECTOR, ".ideas button").click()
    words = "return document.getElementById('answer')?.textContent.split(' ').length"
    wait_until(lambda: (page.execute_script(words) or 0) > 90, 60)
    return page


def patterns(url: str, open_page: Open) -> webdriver.Chrome:
    page = open_page()
    page.get(f"{url}/conditional")
    wait_live(page)
    for button in page.find_elements(By.CSS_SELECTOR, "#emit button"):
        button.click()
    wait_until(lambda: len(page.find_elements(By.CSS_SELECTOR, ".streams li")) == 11)
    return page


SCENES = {
    "notifications": notifications,
    "chat": chat,
    "jobs": jobs,
    "dashboard": dashboard,
    "assistant": assistant,
    "patterns": patterns,
}
LOOKS = {"": {}, "-dark": {"dark": True}, "-phone": {"phone": True}}


def take(name: str, directory: Path, redis_url: str) -> None:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = environment(name, redis_url, f"{name}:", scratch)
        server = stack.enter_context(serve(name, env))
        if (ROOT / "examples" / name / "worker.py").exists():
            process = worker(name, env, scratch)
            process.start()
            stack.callback(process.end, signal.SIGKILL)

        def open_page() -> webdriver.Chrome:
            page = open_chromium()
            stack.callback(page.quit)
            emulate(page)
            return page

        page = SCENES[name](server.url, open_page)
        page.execute_script("document.activeElement.blur()")
        for suffix, choice in LOOKS.items():
            emulate(page, **choice)
            page.save_screenshot(str(directory / f"{name}{suffix}.png"))


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "examples"
    directory.mkdir(parents=True, exist_ok=True)
    with RedisServer() as redis:
        for name in SCENES:
            take(name, directory, redis.url)


if __name__ == "__main__":
    main()
