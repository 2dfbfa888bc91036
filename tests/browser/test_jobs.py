"""A job on the page: its cost before the click, one job however often it is pressed, found again, ended at once."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Browser, Page, expect

from tests.conftest import PATIENCE

SAID = "#soco-job-said"


def opened(page: Page, url: str, query: str) -> None:
    page.goto(f"{url}/?tab=soco{query}")
    expect(page.locator("#tab-soco .prose.v-caption").first).to_contain_text("reaches", timeout=90_000 * PATIENCE)
    page.get_by_role("button", name="Run SoCo yourself").click()


def test_a_training_is_started_once_found_again_and_cancelled(browser: Browser, app_server: str) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    opened(page, app_server, "&removed=55")
    cost = page.locator("#tab-soco").get_by_text(re.compile(r"SoCo at 55 % in 200 steps takes about \d+ (s|min) here"))
    expect(cost.first).to_be_visible(timeout=30_000 * PATIENCE)
    for _ in range(20):
        page.locator("#soco-job-start").click(no_wait_after=True)
    expect(page.locator(SAID)).to_contain_text("stage 1", timeout=90_000 * PATIENCE)
    expect(page.locator(SAID)).to_contain_text(re.compile(r"\d+ % done, about .* left"))
    expect(page.locator("#soco-job-plot .js-plotly-plot")).to_be_visible()
    page.close()
    page = context.new_page()
    opened(page, app_server, "&removed=55")
    expect(page.locator(SAID)).to_contain_text("% done", timeout=10_000 * PATIENCE)
    started = time.monotonic()
    page.locator("#soco-job-cancel").click()
    expect(page.locator(SAID)).to_contain_text("Cancelled.", timeout=5_000 * PATIENCE)
    assert time.monotonic() - started < 2 * PATIENCE
    expect(page.locator("#soco-job-cancel")).to_be_hidden()
    context.close()


def test_what_cannot_be_trained_says_so(page: Page, app_server: str) -> None:
    opened(page, app_server, "&method=svd")
    expect(page.get_by_text("SVD truncates and trains nothing").first).to_be_visible(timeout=30_000 * PATIENCE)
    page.locator("#soco-job-start").click()
    expect(page.locator(".toast-body")).to_contain_text("SVD truncates and trains nothing")
