"""`python -m tests.browser.demo_picture`: take docs/demo.png anew, or the file that is given."""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.support.browsers import open_chromium
from tests.support.demo import Demo, running
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

WIDTH = 1240
LINES = [("Ada", "Is this live?"), ("Grace", "It is. Kill a worker and see."), ("Ada", "All here.")]
#: The faults of the picture, with the seconds of quiet before each.
FAULTS = [("cut", 6), ("kill", 5), ("freeze", 4)]


def take(page: Chrome, demo: Demo, target: Path) -> None:
    """Break the demo, and take the picture while a job runs."""
    page.get(demo.url)
    wait_until(page.find_element(By.ID, "start").is_enabled, 30)
    for name, line in LINES:
        for field, text in (("name", name), ("text", line)):
            element = page.find_element(By.NAME, field)
            element.clear()
            element.send_keys(text)
        page.find_element(By.CSS_SELECTOR, "#say button").click()
        wait_until(functools.partial(_is_shown, page, line), 20)
    page.find_element(By.ID, "start").click()
    for count, (name, quiet) in enumerate(FAULTS, 1):
        cause(page, name, quiet=quiet, count=count)
    page.find_element(By.ID, "start").click()
    wait_until(lambda: "5" in page.find_element(By.CSS_SELECTOR, "#running span").text, 20)
    page.execute_script("document.activeElement.blur()")
    height = page.execute_script("return document.documentElement.scrollHeight")
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    page.save_screenshot(str(target))


def cause(page: Chrome, name: str, *, quiet: int, count: int) -> None:
    """Cause a fault after seconds of quiet, and wait until so many faults are over."""
    truth = "return window.demo.truth.top"
    wanted = page.execute_script(truth) + quiet * 4
    wait_until(lambda: page.execute_script(truth) >= wanted, 60)
    page.find_element(By.CSS_SELECTOR, f"[data-fault={name}]").click()
    over = "#story li[data-done=right]"
    wait_until(lambda: len(page.find_elements(By.CSS_SELECTOR, over)) == count, 60)


def _is_shown(page: Chrome, line: str) -> bool:
    return line in page.find_element(By.ID, "lines").text


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "demo.png"
    with tempfile.TemporaryDirectory() as directory:
        with running(Path(directory, "demo.log")) as demo:
            page = open_chromium()
            try:
                take(page, demo, target)
            finally:
                page.quit()


if __name__ == "__main__":
    main()
