"""What the page costs, beside a bare ten-tab Gradio app in the same run: `python -m benchmarks.ui [--quick]`.

Three servers: the app with all its panels, the app's shell around stand-in panels, of which `spring` answers without a
model, and `benchmarks.bare`. They are asked in turn, never two at once. The quick run is a look, not a result.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from playwright.sync_api import Browser, sync_playwright

from backends.pear.settings import PearSettings, Task
from backends.soco.settings import METHODS, SocoSettings
from benchmarks.instruments import (
    EVENTS,
    VISITORS,
    Place,
    Server,
    Sheet,
    ask,
    bare_tab,
    connect,
    crowd,
    loaded,
    moving,
    p95,
    panel,
    started,
    still,
    visit,
    waited,
)
from benchmarks.report import write
from demos import load_panels
from tests.conftest import FLAGS, find_chromium

OURS, STAND_IN, BARE = ("app.py", "--offline"), ("-m", "tests.fakes.serve", "--offline"), ("-m", "benchmarks.bare")
PANELS = tuple(panel.key for panel in load_panels())
LOOKED_UP = ("spring",)  # panels that answer without a model
STEPS = tuple(round(0.05 * n, 2) for n in range(1, 11))  # of the spring
# Of a crowd's events: has a visitor one session, as a page or gradio_client has, and which of his ten events count?
CROWDS = {
    "cheap events": (True, slice(None)),
    "cheap events: the first, which makes the session": (True, slice(1)),
    "cheap events: the nine later ones": (True, slice(1, None)),
    "cheap events: a session for each, as curl has it": (False, slice(None)),
}


def ask_soco(n: int) -> dict[str, Any]:
    """The settings of a mixed event."""
    method = list(METHODS)[n % len(METHODS)]
    return SocoSettings(removed=10 + 7 * n % 80, method=method, text="stories").model_dump() | {"own": ""}


def ask_pear(n: int) -> dict[str, Any]:
    """The settings of a mixed event."""
    task = get_args(Task)[n % 6]
    return PearSettings(pruned=5 * (n % 16), task=task, checkpoint="keep" if n % 2 else "none").model_dump()


def ask_spring(n: int) -> tuple[dict[str, Any], str]:
    """The settings of a cheap event, and how its answer begins."""
    step = STEPS[n % len(STEPS)]
    return {"step": step, "method": "euler", "damping": 0.1}, f"In steps of {step:g} s, euler strays"


def ask_tab(n: int) -> tuple[dict[str, Any], str]:
    """The same for the bare app."""
    return {"value": n % 100, "choice": "two"}, f"two at {n % 100}"


# What a mixed event asks a panel's endpoint for, by its number
MIXED: dict[str, Callable[[int], dict[str, Any]]] = {
    "soco": ask_soco,
    "pear": ask_pear,
    "tab1": lambda n: ask_tab(n)[0],
}


@dataclass(frozen=True)
class Effort:
    """How often everything is done."""

    quick: bool = False
    starts: int = 5
    loads: int = 10
    openings: int = 20
    moves: int = 60
    warming: int = 10  # rounds of ten mixed events before memory is read, and until it is read again
    rounds: int = 50
    crowds: int = 5


QUICK = Effort(quick=True, starts=2, loads=3, openings=4, moves=12, warming=2, rounds=4, crowds=2)


# ---- the six rows of the design's budgets ----------------------------------------------------------------------------


def starting(sheet: Sheet, folder: Path, effort: Effort) -> None:
    """1. From the start of the process to the page, and on to warm models; the first start of each is not counted."""
    fresh = not (folder / "machine").exists()
    ours: list[tuple[Server, float]] = []
    bare: list[float] = []
    for _ in range(1 + effort.starts):
        with started(OURS, folder) as server:
            ours.append((server, server.warm()))
        with started(BARE, folder) as server:
            bare.append(server.seconds)
    first, *ours = ours
    if fresh:
        sheet.add("a machine's very first start: HTTP 200 to all models warm, s", first[1])
    answered = [server.seconds for server, _ in ours]
    sheet.add("process start to HTTP 200, s, median", statistics.median(answered), statistics.median(bare[1:]),
              ("<=", 1.0), "ours - bare", each=[round(one, 2) for one in answered],
              each_bare=[round(one, 2) for one in bare[1:]])  # fmt: skip
    sheet.add("starts with torch imported by then", sum(server.torch for server, _ in ours), None, ("==", 0))
    sheet.add("HTTP 200 to all models warm, s, worst", max(warm for _, warm in ours), None, ("<=", 8))


def loading(sheet: Sheet, browser: Browser, ours: Place, bare: Place, effort: Effort) -> None:
    """2. With an empty browser cache: Home beside the bare app's first tab, and the address of a panel."""
    home, tab, number, figure = [], [], [], []
    for _ in range(1 + effort.loads):
        with visit(browser, ours.server) as page:
            home.append(loaded(page, ours.server.url, ours.home))
            page.click(ours.door)
            page.wait_for_selector(f"{ours.slider} >> visible=true")  # the cards do what they are for
        with visit(browser, bare.server) as page:
            tab.append(loaded(page, bare.address, bare.home))
        with visit(browser, ours.server) as page:
            number.append(loaded(page, ours.address, ours.answered))
            figure.append(waited(page, ours.drawn))
    for waits in (home, tab, number, figure):
        del waits[0]
    sheet.add("cold cache: Home drawn and its cards clickable, ms, median", statistics.median(home),
              statistics.median(tab), ("<=", 300), "ours - bare", p95=p95(home), p95_bare=p95(tab))  # fmt: skip
    sheet.add(f"cold cache: address of {ours.name} to its live number, ms, p95", p95(number), None, ("<", 2000),
              median=statistics.median(number))  # fmt: skip
    sheet.add(f"cold cache: address of {ours.name} to its figure, ms, p95", p95(figure),
              median=statistics.median(figure))  # fmt: skip
    sheet.add("HTML of the page, KB", html_bytes(ours.server) / 1e3, html_bytes(bare.server) / 1e3, ("<", 300))
    sheet.add("cold cache: over the wire, MB", wire_bytes(browser, ours) / 1e6, wire_bytes(browser, bare) / 1e6,
              ("<", 2.2))  # fmt: skip


def html_bytes(server: Server) -> int:
    """The page itself, uncompressed."""
    with urllib.request.urlopen(server.url, timeout=30) as answer:
        assert "Content-Encoding" not in answer.headers
        return len(answer.read())


def wire_bytes(browser: Browser, place: Place) -> int:
    """What arrives for the first page, as the browser counts it, until it has been still for a while."""
    sizes: list[int] = []
    with visit(browser, place.server) as page:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        loaded(page, place.server.url, place.home)
        page.wait_for_timeout(5000)
    return sum(sizes)


def opening(sheet: Sheet, browser: Browser, panels: list[Place], bare: Place, effort: Effort) -> None:
    """3. A panel's first opening in a new page of a browser that has been here before, by its card in Home."""
    waits: dict[Place, list[float]] = {place: [] for place in (bare, *panels)}
    with contextlib.ExitStack() as stack:
        contexts = {place: stack.enter_context(visit(browser, place.server)).context for place in waits}
        for _ in range(1 + effort.openings):
            for place, context in contexts.items():
                page = context.new_page()
                loaded(page, place.server.url, place.home)
                page.wait_for_timeout(1000)
                page.click(place.door)
                waits[place].append(waited(page, place.drawn))
                page.close()
                time.sleep(2)
    for counted in waits.values():
        del counted[0]  # it filled the browser's cache
    for place in panels:
        kind, most = ("looked up", 400) if place.name in LOOKED_UP else ("live model", 2000)
        sheet.add(f"first opening of {place.name} to its figure ({kind}), ms, p95", p95(waits[place]),
                  p95(waits[bare]), ("<", most), median=statistics.median(waits[place]))  # fmt: skip


def sliding(sheet: Sheet, browser: Browser, panels: list[Place], bare: Place, effort: Effort) -> None:
    """4. From a key on the slider to the redrawn figure; in the bare app to the text."""
    waits = {}
    for place in (bare, *panels):
        with visit(browser, place.server) as page:
            loaded(page, place.address, place.drawn)
            still(page)
            waits[place] = moving(page, place, effort.moves)
    for place in panels:
        kind, most = ("looked up", 150) if place.name in LOOKED_UP else ("live model", 400)
        sheet.add(f"slider of {place.name} to its redrawn figure ({kind}), ms, median",
                  statistics.median(waits[place]), statistics.median(waits[bare]), ("<", most),
                  p95=p95(waits[place]), p95_bare=p95(waits[bare]))  # fmt: skip


def remembering(sheet: Sheet, browser: Browser, folder: Path, faults: list[list[str]], effort: Effort) -> None:
    """5. Memory of a fresh server with every panel opened once, and what it has grown by after mixed events."""
    with started(BARE, folder) as server:
        bare = remembered(browser, [bare_tab(server, 1)], effort)
    with started(OURS, folder) as server:
        server.warm()
        ours = remembered(browser, [panel(server, key) for key in PANELS], effort)
        faults += server.faults
    grown, grown_bare = (100 * (after["MB"] / before["MB"] - 1) for _, before, after in (ours, bare))
    sheet.add("resident memory, every panel opened once, MB", ours[0]["MB"], bare[0]["MB"], ("<", 1500))
    sheet.add(f"growth of memory over {10 * effort.rounds} more events, %", grown, grown_bare, ("<", 5),
              MB=[one["MB"] for one in ours], MB_bare=[one["MB"] for one in bare])  # fmt: skip
    for what, name in (("threads", "threads"), ("open files and connections", "files")):
        for when, which in (("before", 1), ("after", 2)):
            sheet.add(f"{what} {when} these events", ours[which][name], bare[which][name])


def remembered(browser: Browser, places: list[Place], effort: Effort) -> list[dict[str, float]]:
    """What the server uses with every place opened once, after warming up with mixed events, and after the counted."""
    used = []
    for place in places:
        with visit(browser, place.server) as page:
            loaded(page, place.address, place.drawn)
            still(page)
            used = [place.server.used()]
    for rounds in (range(effort.warming), range(effort.warming, effort.warming + effort.rounds)):
        for number in rounds:
            mixed(browser, places[number % len(places)], number)
        time.sleep(5)
        used.append(places[0].server.used())
    return used


def mixed(browser: Browser, place: Place, number: int) -> None:
    """A round of ten events: a page opened at the address, four steps of its slider, five calls; it is closed."""
    connection = connect(place.server.url)
    with visit(browser, place.server) as page:
        loaded(page, place.address, place.drawn)
        moving(page, place, 4)
        for call in range(5 * number, 5 * number + 5):
            ask(connection, place.name, MIXED[place.name](call), f"mixed-{number}")
    connection.close()


def crowding(sheet: Sheet, ours: Server, bare: Server, effort: Effort) -> None:
    """6. 32 visitors with ten cheap events each, one after the other, all at once, through the queue."""
    found: dict[tuple[str, str], list[float]] = {(who, kind): [] for who in ("ours", "bare") for kind in CROWDS}
    errors: dict[str, list[str]] = {"ours": [], "bare": []}
    for _ in range(1 + effort.crowds):
        for sessions in (True, False):
            for who, url, name, asked in (
                ("bare", bare.url, "tab1", ask_tab),
                ("ours", ours.url, "spring", ask_spring),
            ):
                waits, wrong = crowd(url, name, asked, sessions)
                errors[who] += wrong
                for kind, (with_session, part) in CROWDS.items():
                    if with_session == sessions:
                        found[who, kind].append(p95([wait for visitor in waits for wait in visitor[part]]))
                time.sleep(1)
    for kind in CROWDS:
        each, each_bare = found["ours", kind][1:], found["bare", kind][1:]
        promised = ("<", 1.3) if kind == "cheap events" else None
        sheet.add(f"{VISITORS} visitors x {EVENTS} {kind}, ms, p95", statistics.median(each),
                  statistics.median(each_bare), promised, "ours / bare", each=each, each_bare=each_bare)  # fmt: skip
    sheet.add("errors and wrong answers among them", len(errors["ours"]), len(errors["bare"]), ("==", 0),
              said=errors["ours"][:5])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repeats: a look, not a result")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="a filled machine cache to copy")
    options = parser.parse_args()
    effort, sheet = QUICK if options.quick else Effort(), Sheet()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        if options.cache:
            shutil.copytree(options.cache, folder / "machine", ignore=shutil.ignore_patterns("jobs", "benchmarks"))
        starting(sheet, folder, effort)
        browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=FLAGS)
        with started(OURS, folder) as ours, started(STAND_IN, folder) as spring, started(BARE, folder) as bare:
            ours.warm()
            spring.warm()
            panels = [*(panel(ours, key) for key in PANELS), panel(spring, "spring")]
            loading(sheet, browser, panels[0], bare_tab(bare, 1), effort)
            opening(sheet, browser, panels, bare_tab(bare, 2), effort)
            sliding(sheet, browser, panels, bare_tab(bare, 1), effort)
            crowding(sheet, spring, bare, effort)
            faults = ours.faults + spring.faults
        remembering(sheet, browser, folder, faults, effort)
        browser.close()
    said = [fault for one in faults for fault in one]
    foreign = [fault for fault in said if fault.startswith("request to another host")]
    other = [fault for fault in said if fault not in foreign]
    sheet.add("requests to other hosts, all pages", len(foreign), None, ("==", 0), said=foreign[:5])
    sheet.add("console errors, all pages", len(other), None, ("==", 0), said=other[:5])
    settings = vars(effort) | {
        "machine_cache": "filled by an earlier start, as on any but a machine's very first",
        "cheap event": "an endpoint over HTTP through the queue: spring's answer, and a bare tab's text",
        "mixed events": "ten a round: a page opened, four steps of its slider, five calls of the endpoint over HTTP",
    }
    write("ui-quick" if effort.quick else "ui", settings, sheet.rows, sheet.claims)


if __name__ == "__main__":
    main()
