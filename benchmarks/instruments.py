"""What benchmarks of the page measure with: a sheet of rows, servers, the page's own clock, endpoints.

Waits in the page are read off the page's clock: from the navigation, the key or the click until what was asked for
stands in the page and a frame has been painted since.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, Page

from backends.runtime.files import ROOT
from benchmarks.report import Claim, Comparison
from tests.conftest import free_port, watched

VISITORS, EVENTS = 32, 10  # of a crowd
ENOUGH = 90.0  # seconds after which a wait is given up
BEGAN = """for (const kind of ['click', 'keydown'])
  window.addEventListener(kind, () => { window.began = performance.now(); }, true);"""
PAINTED = """() => new Promise(done => requestAnimationFrame(() => setTimeout(
  () => done(performance.now() - (window.began ?? 0)))))"""
# A slider's value has come to stand in the sentence; a redrawn figure has other data, taken and drawn in one go.
MARK = "figure => { window.before = document.querySelector(figure)?.data; }"
MOVED = """([slider, said, figure]) => {
  const value = Number(document.querySelector(slider).value);
  const numbers = document.querySelector(said)?.innerText.match(/[0-9]+([.][0-9]+)?/g) ?? [];
  return numbers.some(one => Number(one) === value)
    && (figure === 'none' || document.querySelector(figure)?.data !== window.before);
}"""
QUIET = """([seconds, most]) => new Promise(done => {
  setTimeout(done, 1000 * most);
  const later = () => { clearTimeout(window.later); window.later = setTimeout(done, 1000 * seconds); };
  new MutationObserver(later).observe(document.body, {subtree: true, childList: true, characterData: true});
  later();
})"""


@dataclass
class Sheet:
    """The rows, and the claims that some of them make."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def add(self, what: str, ours: float, bare: float | None = None,
            promised: tuple[Comparison, float] | None = None, of: str = "ours", **more: Any) -> None:  # fmt: skip
        """A row. promised: of "ours" itself, or of "ours - bare" or "ours / bare"."""
        row = {"what": what, "ours": float(ours)}
        if bare is not None:
            row |= {"bare": float(bare)} | ({"ratio": float(ours / bare)} if bare else {})
        if promised is not None:
            value = {"ours": ours, "ours - bare": ours - (bare or 0), "ours / bare": ours / (bare or 1)}[of]
            self.claims.append(Claim(what, float(value), *promised))
            row["of"] = of
        self.rows.append(row | more)
        print(json.dumps(self.rows[-1]), flush=True)


def p95(values: list[float]) -> float:
    return float(np.percentile(values, 95))


@dataclass(eq=False)
class Server:
    """A started server.

    seconds: from the start of the process to its first answer; torch: imported by then; faults: what went wrong in its
    pages, a list for each visitor.
    """

    url: str
    process: psutil.Process
    seconds: float
    torch: bool
    faults: list[list[str]] = field(default_factory=list)

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/health", timeout=30) as answer:
            return json.load(answer)

    def warm(self, patience: float = 600) -> float:
        """Seconds from now until the models are loaded."""
        began = time.perf_counter()
        while not (health := self.health())["warm"]:
            if time.perf_counter() - began > patience:
                raise TimeoutError(f"not warm within {patience:g} s: {health}")
            time.sleep(0.05)
        return time.perf_counter() - began

    def used(self) -> dict[str, float]:
        """Of the process and its children: resident memory in MB, threads, open files and connections."""
        tree = [self.process, *self.process.children(recursive=True)]
        return {"MB": sum(one.memory_info().rss for one in tree) / 1e6, "threads": sum(o.num_threads() for o in tree),
                "files": sum(one.num_fds() for one in tree)}  # fmt: skip


@contextlib.contextmanager
def started(command: tuple[str, ...], folder: Path) -> Iterator[Server]:
    """A server in a process of its own, ended with the block. folder: its machine cache, temporary files and log."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"VITRINE_CACHE": str(folder / "machine"), "GRADIO_TEMP_DIR": str(folder / "gradio"),
                                "PYTHONPATH": str(ROOT)}  # fmt: skip
    with (folder / "server.log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command, "--port", str(port)], cwd=ROOT, env=environment,
                                   stdout=log, stderr=log)  # fmt: skip
        try:
            while not answers(url):
                if process.poll() is not None or time.perf_counter() - began > ENOUGH:
                    raise RuntimeError(f"{command} does not answer: {(folder / 'server.log').read_text()[-2000:]}")
                time.sleep(0.01)
            seconds = time.perf_counter() - began
            torch = "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()
            yield Server(url, psutil.Process(process.pid), seconds, torch)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Whether the page itself is there, with status 200."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=ENOUGH) as answer:
        return answer.status == 200
    return False


# ---- in the page -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A panel, or a tab of the bare app: where it is in the page, and how to see that it is there.

    address: leads straight to it; door: what is clicked in the first page, `home`; home, drawn: conditions in the page;
    answered: the first answer is there, perhaps not yet the figure; slider, said, figure: a slider, the text that
    follows it, and the figure, where there is one; name: of its endpoint.
    """

    server: Server
    name: str
    address: str
    door: str
    home: str
    answered: str
    drawn: str
    slider: str
    said: str
    figure: str = "none"


def panel(server: Server, key: str) -> Place:
    """Answered: the sentence under the figure has a number in it, which it has not before; drawn: the figure stands
    there too."""
    answered = f"/[0-9]/.test(document.querySelector('#{key}-caption')?.innerText)"
    return Place(
        server, key, f"{server.url}/?tab={key}", f"#home a[data-key={key}]",
        "() => window.vitrine?.turning != null && document.querySelector('#home a[data-key]')?.offsetParent != null",
        f"() => {answered}",
        f"() => {answered} && document.querySelector('#{key}-figure .js-plotly-plot .trace') != null",
        f"#tab-{key} .v-controls input[type=range]", f"#{key}-caption", f"#{key}-figure .js-plotly-plot",
    )  # fmt: skip


def bare_tab(server: Server, number: int) -> Place:
    """Drawn: its slider stands there. `address` leads to the first tab only."""
    there = "() => document.querySelector('#bare-%d input[type=range]')?.offsetParent != null"
    return Place(
        server, f"tab{number}", server.url, f"#bare-{number}-button", there % 1, there % number, there % number,
        f"#bare-{number} input[type=range]", f"#bare-{number}-said",
    )  # fmt: skip


@contextlib.contextmanager
def visit(browser: Browser, server: Server) -> Iterator[Page]:
    """A page of a new visitor, whose cache is empty, and who leaves at the end."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    server.faults.append(watched(context))
    context.add_init_script(BEGAN)
    page = context.new_page()
    page.wait_for_timeout(500)  # the new tab's own processes have started
    yield page
    context.close()
    time.sleep(2)  # what was being computed for the closed page ends


def waited(page: Page, ready: str, given: Any = None) -> float:
    """Milliseconds from the last click or key, else from the navigation, until the page fulfils `ready`, painted."""
    page.wait_for_function(ready, arg=given, polling=10, timeout=1000 * ENOUGH)
    return page.evaluate(PAINTED)


def loaded(page: Page, url: str, ready: str) -> float:
    """Milliseconds from the address to what is waited for."""
    page.goto(url, wait_until="commit")
    return waited(page, ready)


def still(page: Page, seconds: float = 5, most: float = 2 * ENOUGH) -> None:
    """Wait until nothing in the page has changed for a while: what follows a first answer is done."""
    page.evaluate(QUIET, [seconds, most])


def moving(page: Page, place: Place, moves: int) -> list[float]:
    """Milliseconds of each single step of the slider, to and fro over its range, until text and figure follow it."""
    slider = page.locator(place.slider).first
    slider.focus()
    waits, key = [], "ArrowRight"
    for _ in range(moves):
        value, step, low, high = slider.evaluate("one => [one.value, one.step, one.min, one.max].map(Number)")
        if value + step > high + 1e-9:
            key = "ArrowLeft"
        elif value - step < low - 1e-9:
            key = "ArrowRight"
        page.evaluate(MARK, place.figure)
        page.keyboard.press(key)
        waits.append(waited(page, MOVED, [place.slider, place.said, place.figure]))
        page.wait_for_timeout(150)
    return waits


# ---- over HTTP -------------------------------------------------------------------------------------------------------


def ask(connection: http.client.HTTPConnection, name: str, settings: dict[str, Any], session: str | None) -> Any:
    """An endpoint's answer through the queue; settings in its order. Raises RuntimeError where it is an error.

    session: a visitor's own, as a page or gradio_client has one; without it Gradio makes one for every call.
    """
    path = f"/gradio_api/call/{name}"
    body = json.dumps({"data": list(settings.values()), "session_hash": session})
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    said = reply.read()
    if reply.status != 200:
        raise RuntimeError(f"{reply.status}: {said[:200]!r}")
    connection.request("GET", f"{path}/{json.loads(said)['event_id']}")
    *_, last = connection.getresponse().read().decode().strip().split("\n\n")
    event, _, data = last.partition("\n")
    if event != "event: complete":
        raise RuntimeError(last[:200])
    return json.loads(data.removeprefix("data: "))[0]


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=ENOUGH)


def crowd(
    url: str, name: str, asked: Callable[[int], tuple[dict[str, Any], str]], sessions: bool = True
) -> tuple[list[list[float]], list[str]]:
    """32 visitors at once, ten events each, one after the other: milliseconds by visitor, and every error.

    asked: the settings of an event and what its answer must begin with. sessions: every visitor has one.
    """
    together = threading.Barrier(VISITORS)

    def visitor(number: int) -> tuple[list[float], list[str]]:
        waits, errors, connection = [], [], connect(url)
        session = secrets.token_hex(8) if sessions else None
        together.wait()
        for event in range(EVENTS):
            settings, right = asked(number * EVENTS + event)
            began = time.perf_counter()
            try:
                answer = ask(connection, name, settings, session)
                waits.append(1000 * (time.perf_counter() - began))
                said = answer if isinstance(answer, str) else answer["summary"]
                errors += [] if said.startswith(right) else [f"{settings}: {said}"]
            except (OSError, http.client.HTTPException, RuntimeError, ValueError) as error:
                errors.append(f"{settings}: {error!r}")
                connection.close()
        connection.close()
        return waits, errors

    with ThreadPoolExecutor(VISITORS) as pool:
        found = list(pool.map(visitor, range(VISITORS)))
    return [waits for waits, _ in found], [error for _, errors in found for error in errors]
