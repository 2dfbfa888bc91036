"""A browser that is killed in the middle of a job leaves a job that its next start finds again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
from playwright.sync_api import BrowserContext, Page, Playwright, expect

from tests.conftest import FLAGS, PATIENCE, find_chromium

SAID = "#spring-job-said"


def started(playwright: Playwright, profile: Path) -> BrowserContext:
    return playwright.chromium.launch_persistent_context(
        profile, executable_path=find_chromium(playwright), args=FLAGS, viewport={"width": 1440, "height": 900}
    )


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(f"{url}/?tab=spring")
    expect(page.locator("#spring-caption")).to_contain_text("strays", timeout=30_000 * PATIENCE)
    page.locator("#spring-job button.label-wrap").click()
    return page


def main_process(profile: Path) -> int:
    """The browser that was started on this profile."""
    mine = [
        process
        for process in psutil.process_iter(["cmdline", "ppid"])
        if f"--user-data-dir={profile}" in (process.info["cmdline"] or [])
        and "--type" not in str(process.info["cmdline"])
    ]
    return mine[0].pid


def test_a_killed_browser_finds_its_job_again(playwright: Playwright, shell_server: str, tmp_path: Path) -> None:
    context = started(playwright, tmp_path)
    page = opened(context, shell_server)
    page.locator("#spring-job label").last.click()
    page.locator("#spring-job-start").click()
    expect(page.locator(SAID)).to_contain_text("% done", timeout=20_000 * PATIENCE)
    time.sleep(7)  # the browser writes what a page keeps to disk a little later
    os.kill(main_process(tmp_path), signal.SIGKILL)
    context = started(playwright, tmp_path)
    page = opened(context, shell_server)
    expect(page.locator(SAID)).to_contain_text("% done", timeout=10_000 * PATIENCE)
    page.locator("#spring-job-cancel").click()
    expect(page.locator(SAID)).to_contain_text("Cancelled.", timeout=5_000 * PATIENCE)
    context.close()
