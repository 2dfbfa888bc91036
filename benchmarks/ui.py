"""What the page costs, beside a bare ten-tab Gradio app in the same run: `python -m benchmarks.ui [--quick]`.

Three servers: the app with all its panels (`app.py --offline`), the app's shell around stand-in panels, of which
`spring` answers without a model (`tests.fakes.serve`), and `benchmarks.bare`. They are measured in turn, never two at
once. Waits in the page are read off the page's own clock: from the navigation, the key or the click until what was
asked for stands in the page and a frame has been painted since.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
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
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from backends.runtime.files import ROOT
from backends.soco.settings import METHODS
from benchmarks.report import Claim, Comparison, write
from demos import load_panels
from tests.conftest import FLAGS, find_chromium, free_port, watched

OURS, STAND_IN, BARE = ("app.py", "--offline"), ("-m", "tests.fakes.serve", "--offline"), ("-m", "benchmarks.bare")
LOOKED_UP = ("spring",)  # panels that answer without a model
VISITORS, EVENTS = 32, 10
ENOUGH = 90.0  # seconds after which a wait is given up
BEGAN = """for (const kind of ['click', 'keydown'])
  window.addEventListener(kind, () => { window.began = performance.now(); }, true);"""
PAINTED = """() => new Promise(done => requestAnimationFrame(() => setTimeout(
  () => done(performance.now() - (window.began ?? 0)))))"""
HOME = "() => window.vitrine?.turning != null && document.querySelector('#home a[data-key]')?.offsetParent != null"
TAB = "() => document.querySelector('#bare-%s input[type=range]')?.offsetParent != null"
NUMBER = "() => document.querySelector('#%s-formula .katex') != null"  # the formula has numbers once the answer is there
FIGURE = "document.querySelector('#%s-figure .js-plotly-plot')"
DRAWN = f"() => {FIGURE}?.querySelector('.trace') != null && ({NUMBER})()"
MARK = """([said, figure]) => {
  const graph = document.querySelector(`${figure} .js-plotly-plot`);
  window.before = document.querySelector(said).innerText;
  window.redrawn = !graph;
  if (!graph || graph.counted) return;
  graph.counted = true;
  graph.on('plotly_afterplot', () => { window.redrawn = true; });
}"""
MOVED = "() => window.redrawn && document.querySelector('%s').innerText !== window.before"


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


@dataclass
class Server:
    """A started server. seconds: from the start of the process to its first answer; torch: imported by then."""

    url: str
    process: psutil.Process
    seconds: float
    torch: bool

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


def p95(values: list[float]) -> float:
    return float(np.percentile(values, 95))


# ---- in the page -----------------------------------------------------------------------------------------------------


def visit(browser: Browser, faults: list[list[str]]) -> BrowserContext:
    """A visitor with an empty cache. faults: what goes wrong in its pages is added as a list of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    faults.append(watched(context))
    context.add_init_script(BEGAN)
    return context


def waited(page: Page, ready: str) -> float:
    """Milliseconds from the last click or key, else from the navigation, until the page fulfils `ready`, painted."""
    page.wait_for_function(ready, polling=10, timeout=1000 * ENOUGH)
    return page.evaluate(PAINTED)


def loaded(page: Page, url: str, ready: str) -> float:
    page.goto(url, wait_until="commit")
    return waited(page, ready)


def moving(page: Page, name: str, moves: int, pause: int = 150) -> list[float]:
    """Milliseconds of each single step of a panel's first slider until text and figure have followed."""
    bare = name.startswith("bare-")
    said = f"#{name}-said" if bare else f"#{name}-caption"
    slider = page.locator(f"#{name} input[type=range]" if bare else f"#tab-{name} .v-controls input[type=range]").first
    slider.focus()
    waits, key = [], "ArrowRight"
    for _ in range(moves):
        if slider.evaluate("one => Number(one.value) + Number(one.step) > Number(one.max) + 1e-9"):
            key = "ArrowLeft"
        elif slider.evaluate("one => Number(one.value) - Number(one.step) < Number(one.min) - 1e-9"):
            key = "ArrowRight"
        page.evaluate(MARK, [said, f"#{name}-figure"])
        page.keyboard.press(key)
        waits.append(waited(page, MOVED % said))
        page.wait_for_timeout(pause)
    return waits


# ---- over HTTP -------------------------------------------------------------------------------------------------------


def ask(connection: http.client.HTTPConnection, name: str, settings: dict[str, Any]) -> Any:
    """An endpoint's answer through the queue, as every client gets it. Raises RuntimeError where it is an error."""
    path = f"/gradio_api/call/v2/{name}"
    connection.request("POST", path, json.dumps(settings), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    body = reply.read()
    if reply.status != 200:
        raise RuntimeError(f"{reply.status}: {body[:200]!r}")
    connection.request("GET", f"{path}/{json.loads(body)['event_id']}")
    *_, last = connection.getresponse().read().decode().strip().split("\n\n")
    event, _, data = last.partition("\n")
    if event != "event: complete":
        raise RuntimeError(last[:200])
    return json.loads(data.removeprefix("data: "))[0]


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=ENOUGH)


def crowd(url: str, name: str, asked: Callable[[int], tuple[dict[str, Any], str]]) -> tuple[list[float], list[str]]:
    """32 visitors at once, ten events each, one after the other: milliseconds of each event, and every error.

    asked: the settings of an event and what its answer must begin with.
    """
    together = threading.Barrier(VISITORS)

    def visitor(number: int) -> tuple[list[float], list[str]]:
        waits, errors, connection = [], [], connect(url)
        together.wait()
        for event in range(EVENTS):
            settings, right = asked(number * EVENTS + event)
            began = time.perf_counter()
            try:
                answer = ask(connection, name, settings)
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
    return [wait for waits, _ in found for wait in waits], [error for _, errors in found for error in errors]
