"""How long a visitor of a panel waits, in a real Chromium: `python -m benchmarks.page [--panel soco] [--moves 60]`.

Opening: from the address, entered in an empty tab of a running browser, to the first live number in words, and to the
figure, with the models warm and the browser's cache cold. Acting: from a key on the slider, or from a click in the grid
of adapters, to the redrawn figure that shows what was asked for, a forward pass in between.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Page, Request, sync_playwright

from benchmarks.report import Claim, write
from tests.conftest import FLAGS, HERE, find_chromium, served

OPENINGS = 5


class Act(NamedTuple):
    """What the visitor does, and the JavaScript condition that holds once the page shows it."""

    do: Callable[[], None]
    shown: str


@dataclass(frozen=True)
class Visited:
    """A panel's page. said: in the sentence once its number is live; now: the trace of the live number; at: holds once
    sentence and figure show the slider's {value}; step: of its slider; turn: keys to one side before it turns; acts:
    what is timed, by name."""

    said: str
    now: str
    at: str
    slider: str
    step: int
    turn: int
    acts: dict[str, Callable[[Page, Visited], Iterator[Act]]]


def at_slider(page: Page, visited: Visited) -> Iterator[Act]:
    """Keys to the right, as many to the left, and again."""
    slider = page.locator(f"#{visited.slider} input[type=range]")
    slider.focus()
    value, turn = int(float(slider.input_value())), 0
    while True:
        right = turn % (2 * visited.turn) < visited.turn
        value, turn = value + (visited.step if right else -visited.step), turn + 1
        yield Act(
            lambda key="ArrowRight" if right else "ArrowLeft": page.keyboard.press(key),
            visited.at.format(value=value),
        )


def at_grid(page: Page, visited: Visited) -> Iterator[Act]:
    """Every cell in turn is pressed three times: through its three states and back."""
    names = page.locator("#pear-grid button[data-site]").evaluate_all("cells => cells.map(cell => cell.dataset.site)")
    while True:
        for name in names:
            for _ in range(3):
                cell = page.locator(f"#pear-grid [data-site='{name}']")
                there = f"document.querySelector(`#pear-grid [data-site='{name}']`)"
                drawn = f"{there}.className !== {json.dumps(cell.get_attribute('class'))}"
                yield Act(cell.click, f"data !== window.drawnBefore && {drawn}")


VISITED = {
    "soco": Visited(
        "reaches perplexity", "now", "now() === {value}", "soco-removed", 1, 20, {"slider step": at_slider},
    ),
    "pear": Visited(  # its ring stands at the share of the 12 adapters that is really pruned
        "right after the prune", "right after the prune",
        "said.startsWith('At {value} %') && Math.abs(now() - {value}) < 4.2", "pear-pruned", 5, 5,
        {"slider step": at_slider, "click in the grid": at_grid},
    ),
}  # fmt: skip


def wait_until_warm(url: str, seconds: float = 180) -> float:
    """Seconds from now until /health says that the models are loaded."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            if json.load(answer)["warm"]:
                return time.perf_counter() - started
        time.sleep(0.05)
    raise TimeoutError("the app did not become warm")


def script(panel: str, visited: Visited, condition: str) -> str:
    """A condition on the drawn figure; `data`, `now()` and the sentence as `said` can be used in it."""
    return f"""() => {{
      const graph = document.querySelector('#{panel}-figure .js-plotly-plot'), data = graph && graph.data;
      const said = document.querySelector('#{panel}-caption')?.innerText.trim() ?? '';
      const now = () => data.find(trace => trace.name === {json.dumps(visited.now)})?.x?.[0] ?? null;
      return Boolean(data) && Boolean({condition});
    }}"""


def opening(page: Page, url: str, panel: str, visited: Visited) -> tuple[float, float]:
    """Seconds from the address to the first live number, and to the figure that shows it."""
    started = time.perf_counter()
    page.goto(f"{url}/?tab={panel}", wait_until="commit")
    sentence = f"document.querySelector('#{panel}-caption')?.innerText.includes({json.dumps(visited.said)})"
    page.wait_for_function(f"() => {sentence}", polling=20, timeout=60_000)
    number = time.perf_counter() - started
    page.wait_for_function(script(panel, visited, "now() !== null"), polling=20, timeout=60_000)
    return number, time.perf_counter() - started


def acting(page: Page, panel: str, visited: Visited, acts: Iterator[Act], count: int) -> list[float]:
    """Seconds of each single act until a new figure shows it."""
    waits = []
    for _, act in zip(range(count), acts, strict=False):
        page.evaluate(script(panel, visited, "window.drawnBefore = data"))
        shown = script(panel, visited, act.shown)
        started = time.perf_counter()
        act.do()
        page.wait_for_function(shown, polling=10, timeout=30_000)
        waits.append(time.perf_counter() - started)
        page.wait_for_timeout(150)
    return waits


@dataclass
class Watched:
    """What must not happen meanwhile."""

    foreign: list[str]
    errors: list[str]

    def page(self, browser: Browser) -> Page:
        """A page of its own context, watched."""
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.on("request", self._asked)
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        return page

    def _asked(self, request: Request) -> None:
        if request.url.startswith("http") and not any(here in request.url for here in HERE):
            self.foreign.append(request.url)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panel", choices=VISITED, default="soco")
    parser.add_argument("--moves", type=int, default=60)
    options = parser.parse_args()
    visited, watched = VISITED[options.panel], Watched([], [])
    opened, waits = [], {}
    with tempfile.TemporaryDirectory() as cache, served(["app.py", "--offline"], Path(cache)) as url:
        warm = wait_until_warm(url)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=FLAGS)
            browser.new_page().goto(f"{url}/health")  # a visitor's browser has been started before
            for _ in range(OPENINGS):
                page = watched.page(browser)
                page.wait_for_timeout(1000)  # the new tab's own processes have started
                opened.append(opening(page, url, options.panel, visited))
                if len(opened) == OPENINGS:
                    page.wait_for_timeout(30_000)  # the details of the opening are done
                    for name, acts in visited.acts.items():
                        waits[name] = acting(page, options.panel, visited, acts(page, visited), options.moves)
                page.context.close()
                time.sleep(3)  # what was being computed for the closed page ends
            browser.close()
    report(options.panel, options.moves, warm, opened, waits, watched)


def report(
    panel: str, moves: int, warm: float, opened: list[tuple[float, float]], waits: dict[str, list[float]],
    watched: Watched,
) -> None:  # fmt: skip
    """Write rows and claims. opened, waits: seconds."""
    numbers, drawn = zip(*opened, strict=True)
    rows = [
        {"what": "port answers to all models warm, cold cache, s", "median": warm},
        {
            "what": "opening to first live number, s",
            "median": statistics.median(numbers),
            "worst": max(numbers),
            "each": [round(seconds, 3) for seconds in numbers],
        },
        {"what": "opening to its figure, s", "median": statistics.median(drawn), "worst": max(drawn)},
    ]
    claims = [Claim("opening to first live number, s, worst of five", max(numbers), "<=", 2.0)]
    for name, seconds in waits.items():
        median, p95 = 1000 * statistics.median(seconds), 1000 * statistics.quantiles(seconds, n=20)[-1]
        rows.append({"what": f"{name} to redrawn figure, ms", "median": median, "p95": p95})
        claims += [
            Claim(f"{name} to redrawn figure, ms, median", median, "<", 400),
            Claim(f"{name} to redrawn figure, ms, 95th percentile", p95, "<", 800),
        ]
    claims += [
        Claim("requests to other hosts", len(watched.foreign), "==", 0),
        Claim("console errors", len(watched.errors), "==", 0),
    ]
    write(f"{panel}_page", {"moves": moves}, rows, claims)


if __name__ == "__main__":
    main()
