"""How long a visitor of the SoCo panel waits, in a real Chromium: `python -m benchmarks.soco_page [--moves 60]`.

Opening: from the address, entered in an empty tab of a running browser, to the first live perplexity in words, and to
the figure, with the models warm and the browser's cache cold. Moving: from a key
on the slider to the redrawn figure whose ring stands at the new ratio, a forward pass over 2,048 tokens in between.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.report import Claim, write
from tests.conftest import FLAGS, HERE, find_chromium, served

RING = """() => {
  const graph = document.querySelector('#soco-figure .js-plotly-plot');
  const now = graph && graph.data && graph.data.find(trace => trace.name === 'now');
  return now ? now.x[0] : null;
}"""
NUMBER = """() => {
  const sentence = document.querySelector('#soco-caption');
  return sentence !== null && sentence.innerText.includes('reaches perplexity');
}"""
SLIDER = "#soco-removed input[type=range]"


def wait_until_warm(url: str, seconds: float = 180) -> float:
    """Seconds from now until /health says that the models are loaded."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            if json.load(answer)["warm"]:
                return time.perf_counter() - started
        time.sleep(0.05)
    raise TimeoutError("the app did not become warm")


def opening(page: Page, url: str) -> tuple[float, float]:
    """Seconds from the address to the first live number, and to the figure that shows it."""
    started = time.perf_counter()
    page.goto(f"{url}/?tab=soco", wait_until="commit")
    page.wait_for_function(NUMBER, polling=20, timeout=60_000)
    number = time.perf_counter() - started
    page.wait_for_function(f"({RING})() !== null", polling=20, timeout=60_000)
    return number, time.perf_counter() - started


def moving(page: Page, moves: int) -> list[float]:
    """Seconds of each single step of the slider until the figure shows it."""
    slider = page.locator(SLIDER)
    slider.focus()
    waits, value = [], int(float(slider.input_value()))
    for move in range(moves):
        step = 1 if (move // 20) % 2 == 0 else -1
        value += step
        started = time.perf_counter()
        page.keyboard.press("ArrowRight" if step > 0 else "ArrowLeft")
        page.wait_for_function(f"({RING})() === {value}", polling=10, timeout=30_000)
        waits.append(time.perf_counter() - started)
        page.wait_for_timeout(150)
    return waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=60)
    options = parser.parse_args()
    foreign: list[str] = []
    errors: list[str] = []
    with tempfile.TemporaryDirectory() as cache, served(["app.py", "--offline"], Path(cache)) as url:
        warm = wait_until_warm(url)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=FLAGS)
            browser.new_page().goto(f"{url}/health")  # a visitor's browser has been started before
            opened = []
            for _ in range(5):
                context = browser.new_context(viewport={"width": 1440, "height": 900})
                page = context.new_page()
                page.on(
                    "request",
                    lambda r: (
                        foreign.append(r.url)
                        if not any(h in r.url for h in HERE) and r.url.startswith("http")
                        else None
                    ),
                )
                page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
                page.wait_for_timeout(1000)  # the new tab's own processes have started
                opened.append(opening(page, url))
                if len(opened) == 5:
                    page.wait_for_timeout(30_000)  # the details of the opening are done
                    waits = moving(page, options.moves)
                context.close()
                time.sleep(3)  # what was being computed for the closed page ends
            browser.close()
    numbers, drawn = zip(*opened, strict=True)
    p95 = statistics.quantiles(waits, n=20)[-1]
    rows = [
        {"what": "port answers to all models warm, cold cache, s", "median": warm},
        {
            "what": "opening to first live perplexity, s",
            "median": statistics.median(numbers),
            "worst": max(numbers),
            "each": [round(seconds, 3) for seconds in numbers],
        },
        {"what": "opening to its figure, s", "median": statistics.median(drawn), "worst": max(drawn)},
        {"what": "slider step to redrawn figure, ms", "median": 1000 * statistics.median(waits), "p95": 1000 * p95},
    ]
    claims = [
        Claim("opening to first live perplexity, s, worst of five", max(numbers), "<=", 2.0),
        Claim("slider step to redrawn figure, ms, median", 1000 * statistics.median(waits), "<", 400),
        Claim("slider step to redrawn figure, ms, 95th percentile", 1000 * p95, "<", 800),
        Claim("requests to other hosts", len(foreign), "==", 0),
        Claim("console errors", len(errors), "==", 0),
    ]
    write("soco_page", {"moves": options.moves}, rows, claims)


if __name__ == "__main__":
    main()
