"""Servers started as a person would start them, and a browser that notices every error and every foreign request."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    expect,
    sync_playwright,
)

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
HERE = ("127.0.0.1", "localhost")
PATIENCE = float(
    os.environ.get("VITRINE_PATIENCE", "1")
)  # on a machine with other work, every wait is this much longer


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    """Until the address answers; fails at once if the server has ended."""
    until = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"The server ended with code {process.returncode} before it answered.")
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    pytest.fail(f"The server did not answer within {seconds:.0f} s.")


@contextlib.contextmanager
def served(
    command: list[str], cache: Path, stop: signal.Signals = signal.SIGTERM, tree: Path = ROOT, kept: Path | None = None
) -> Iterator[str]:
    """The app in a process of its own; it must end with code 0 within five seconds.

    cache: its empty folder; kept: one that an earlier server has filled with what is computed once a machine.
    """
    port = free_port()
    environment = os.environ | {"VITRINE_CACHE": str((kept or cache) / "vitrine")}
    environment |= {"GRADIO_TEMP_DIR": str(cache / "gradio")}
    environment |= {"PYTHONPATH": str(tree)}
    log = cache / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *command, "--port", str(port)], cwd=tree, env=environment,
                                   stdout=out, stderr=subprocess.STDOUT)  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}"
            process.send_signal(stop)
            assert process.wait(5 * PATIENCE) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
            if process.returncode:
                print(log.read_text())


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests compute in this process is kept apart from the user's cache."""
    os.environ["VITRINE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the app computes once a machine, shared by the servers of these tests."""
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(scope="session")
def app_server(tmp_path_factory: pytest.TempPathFactory, machine: Path) -> Iterator[str]:
    """The app itself, with all its panels."""
    with served(["app.py", "--offline"], tmp_path_factory.mktemp("app"), kept=machine) as url:
        yield url


WITH_SERVERS = ("browser", "hostile", "load")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs no server first: meanwhile one computes at low priority what it computes once a machine."""
    items.sort(key=_needs_a_server)


@pytest.fixture(scope="session", autouse=True)
def begun_early(request: pytest.FixtureRequest, own_cache: None) -> None:
    """The app, where any test is going to need it."""
    if len(request.session.items) > 20 and any(map(_needs_a_server, request.session.items)):
        request.getfixturevalue("app_server")


def _needs_a_server(item: pytest.Item) -> bool:
    return item.path.parent.name in WITH_SERVERS


@pytest.fixture(scope="session")
def shell_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with the stand-in panels of tests/fakes."""
    with served(["-m", "tests.fakes.serve", "--offline"], tmp_path_factory.mktemp("shell")) as url:
        yield url


@pytest.fixture(scope="session")
def fresh_app_server(tmp_path_factory: pytest.TempPathFactory, machine: Path) -> Iterator[str]:
    """The app once more, with nothing of what its visitors have seen."""
    with served(["app.py", "--offline"], tmp_path_factory.mktemp("fresh-app"), kept=machine) as url:
        yield url


@pytest.fixture(scope="session")
def fresh_shell_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stand-ins once more."""
    with served(["-m", "tests.fakes.serve", "--offline"], tmp_path_factory.mktemp("fresh-shell")) as url:
        yield url


def find_chromium(playwright: Playwright) -> str:
    """$VITRINE_CHROMIUM, one on the PATH, Playwright's own, or a fresh installation of that."""
    if named := os.environ.get("VITRINE_CHROMIUM"):
        return named
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    own = playwright.chromium.executable_path
    if not Path(own).exists():
        install = [sys.executable, "-m", "playwright", "install", "chromium"]
        subprocess.run(install, check=False, capture_output=True, timeout=600)
    if not Path(own).exists():
        pytest.fail("No Chromium: install one, or name one in VITRINE_CHROMIUM; Playwright's could not be downloaded.")
    return own


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives browsers."""
    expect.set_options(timeout=10_000 * PATIENCE)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One headless Chromium for all tests."""
    started = playwright.chromium.launch(executable_path=find_chromium(playwright), args=FLAGS)
    yield started
    started.close()


def watched(context: BrowserContext) -> list[str]:
    """Everything that must not happen in the pages of a context, as it happens: errors, and requests to other hosts."""
    context.set_default_timeout(20_000 * PATIENCE)
    faults: list[str] = []

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(f"console: {message.text}")

    def request(sent: Request) -> None:
        address = urlsplit(sent.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in HERE:
            faults.append(f"request to another host: {sent.url}")

    context.on("console", console)
    context.on("weberror", lambda error: faults.append(f"error in the page: {error.error}"))
    context.on("request", request)
    return faults


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A clean page; the test fails at its end if there was a console error or a request to another host."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    faults = watched(context)
    yield context.new_page()
    context.close()
    assert not faults, "\n".join(faults)


FRAMES = """() => new Promise(done => {
  let left = 3;
  const next = () => (left-- ? requestAnimationFrame(next) : setTimeout(done));
  next();
})"""


def settled(page: Page, content: str) -> None:
    """Wait until what has just been opened can be used: Gradio sets its values once more, a frame after it appears."""
    page.locator(content).first.wait_for()
    page.evaluate(FRAMES)


def serious(page: Page) -> list[str]:
    """axe's serious and critical findings, in words."""
    findings = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']][:3]}"
            for one in findings if one["impact"] in ("serious", "critical")]  # fmt: skip
