"""The front door: options, health, ending; what may import what; and what the README's header promises."""

from __future__ import annotations

import ast
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

import demos
from backends.runtime.errors import UserError
from demos import load_panels
from demos.kit.panel import Panel, guarded
from tests.conftest import ROOT, served

GROUNDS = {"lm", "vision", "catalogue", "ranking", "graph", "text_encoder", "scenes"}
METHODS = {"soco", "himix", "pear", "heat", "lily", "mekb_rec", "cdiff4rec", "sessions", "vip5", "reavl", "manga"}
HEAVY = {"torch", "transformers", "diffusers", "peft"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--device", "abacus"], "Unknown device 'abacus'"),
        (["--device", "mps"], "no mps device"),
        (["--models", "/no/such/folder"], "--models /no/such/folder is not a folder"),
        (["--models", "app.py"], "--models app.py is not a folder"),
        (["--panels", "soko"], "Unknown panel 'soko': did you mean soco?"),
        (["--panels", ""], "--panels names no panel"),
        (["--port", "70000"], "--port 70000 is not between 1 and 65535"),
        (["--port", "x"], "invalid int value: 'x'"),
        (["--host", "256.1.1.1", "--port", "7999"], "Cannot serve on 256.1.1.1"),
        (["--share", "--offline"], "--share needs the network"),
        (["--nonsense"], "Unrecognized arguments: --nonsense"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import app  # builds the page

    if arguments == ["--device", "mps"] and sys.platform == "darwin":
        pytest.skip("this machine may have one")
    with pytest.raises(SystemExit) as ended:
        app.start(arguments, serving="--host" in arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in said and said.count("\n") == 1 and said.endswith(".\n")


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("app.py", "--port", port)
    assert ended.returncode == 2
    assert re.fullmatch(
        rf"Cannot serve on 127\.0\.0\.1, port {port} \(.*\): choose another with --port\.\n", ended.stderr
    )


def test_importing_the_app_leaves_torch_alone() -> None:
    code = f"import sys, app; print(type(app.demo).__name__, sorted({HEAVY!r} & set(sys.modules)))"
    ended = run("-c", code)
    assert ended.stdout.split("\n")[-2] == "Blocks []", ended.stderr


def test_scripts_are_compressed_beforehand_and_kept_for_good(shell_server: str) -> None:
    page = urllib.request.urlopen(shell_server, timeout=20).read().decode()
    script = re.search(r'src="\./(assets/index-[^"]+\.js)"', page)
    assert script
    asked = urllib.request.Request(f"{shell_server}/{script[1]}", headers={"Accept-Encoding": "br"})
    answer = urllib.request.urlopen(asked, timeout=20)
    assert answer.headers["Content-Encoding"] == "br"
    assert "immutable" in answer.headers["Cache-Control"]
    assert int(answer.headers["Content-Length"]) == len(answer.read())  # not compressed a second time


def test_health(shell_server: str) -> None:
    def read() -> dict[str, object]:
        with urllib.request.urlopen(f"{shell_server}/health", timeout=10) as answer:
            assert answer.headers["content-type"].startswith("application/json")
            return json.load(answer)

    until = time.monotonic() + 60
    while not read()["warm"] and time.monotonic() < until:
        time.sleep(0.2)
    health = read()
    assert health["status"] == "ok" and health["warm"] is True and health["version"]


def test_each_method_is_one_endpoint_and_one_tool_and_the_shell_adds_none(shell_server: str) -> None:
    with urllib.request.urlopen(f"{shell_server}/gradio_api/info", timeout=10) as answer:
        assert list(json.load(answer)["named_endpoints"]) == ["/spring"]
    with urllib.request.urlopen(f"{shell_server}/gradio_api/mcp/schema", timeout=10) as answer:
        assert [tool["name"] for tool in json.load(answer)] == ["spring"]


def test_limits(shell_server: str) -> None:
    host, port = shell_server.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n' + b"0" * 21_000_000
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not listen to the end
        connection.request("POST", "/gradio_api/upload", body + b"\r\n--x--\r\n",
                           {"Content-Type": "multipart/form-data; boundary=x"})  # fmt: skip
    assert connection.getresponse().status == 413
    connection.close()
    for path in ("/monitoring", "/gradio_api/file=app.py", "/gradio_api/file=/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
            urllib.request.urlopen(shell_server + path, timeout=10)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_even_while_it_warms_up(stop: signal.Signals, tmp_path: Path) -> None:
    with served(["-m", "tests.fakes.serve"], tmp_path, stop):
        pass  # `served` asserts code 0 within five seconds
    log = (tmp_path / "server.log").read_text()
    assert "Traceback" not in log, log


def test_panels_load_in_order_and_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demos, "PANELS", [f"tests.fakes.{key}:PANEL" for key in ("dial", "echo", "shout")])
    assert [panel.key for panel in load_panels()] == ["dial", "echo", "shout"]
    assert [panel.key for panel in load_panels(["shout", "dial"])] == ["dial", "shout"]
    with pytest.raises(UserError, match=r"^Unknown panel 'ecko': did you mean echo\?$"):
        load_panels(["ecko"])
    with pytest.raises(UserError, match="choose among dial, echo, shout"):
        load_panels(["zzz"])


def test_a_panel_says_where_it_belongs() -> None:
    def make(**changes: str) -> Panel:
        fields = {"key": "a", "title": "A", "group": "Know", "paper": "2310.00001", "question": "?"} | changes
        return Panel(**fields, build=lambda context: None)

    assert make().arxiv == "https://arxiv.org/abs/2310.00001" and make().paper_label == "arXiv 2310.00001"
    assert make(paper="A. Author, 2024").arxiv is None
    for wrong in ({"key": "home"}, {"key": "So Co"}, {"group": "Dream"}):
        with pytest.raises(ValueError, match=r"[Pp]anel"):
            make(**wrong)


def test_guarded_tells_a_visitor_only_what_helps(caplog: pytest.LogCaptureFixture) -> None:
    @guarded
    def mendable() -> None:
        raise UserError("Bring a file.")

    @guarded
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("secret")

    with pytest.raises(gr.Error) as told:
        mendable()
    assert told.value.message == "Bring a file." and not caplog.records
    steps = broken()
    assert next(steps) == 1
    with pytest.raises(gr.Error) as told:
        next(steps)
    ident = re.fullmatch(r"Internal error, id ([0-9a-f]{8})\.", told.value.message)
    assert ident and ident[1] in caplog.text and "secret" in caplog.text


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever it stands in the file."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            base = ".".join([*package, *filter(None, [node.module])])
            named |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return named


def forbidden(path: Path) -> set[str]:
    """The imports of a file that point the wrong way."""
    house, *inside = path.relative_to(ROOT).with_suffix("").parts
    part = inside[0] if len(inside) > 1 else ""
    named = imports(path)
    top = {name.split(".")[0] for name in named}
    backends = {name.split(".")[1] for name in named if name.startswith("backends.")}
    if house == "app":
        return top & (HEAVY | {"tests", "benchmarks", "plotly"}) | backends - {"runtime"}
    wrong = top & {"app", "tests", "benchmarks"}
    if house == "demos":
        return wrong | top & HEAVY
    wrong |= top & {"demos", "gradio", "plotly"}
    if part in METHODS:
        return wrong | backends & METHODS - {part}
    if part in GROUNDS:
        return wrong | backends & METHODS
    return wrong | backends - {"runtime"}


def sources() -> list[Path]:
    return [ROOT / "app.py", *sorted((ROOT / "demos").rglob("*.py")), *sorted((ROOT / "backends").rglob("*.py"))]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    assert forbidden(path) == set()


def test_every_backend_is_a_ground_or_a_method() -> None:
    folders = {path.parent.name for path in (ROOT / "backends").glob("*/__init__.py")}
    assert folders <= GROUNDS | METHODS | {"runtime"}


def test_the_space_runs_the_pinned_gradio() -> None:
    header = (ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    promised = re.search(r"^sdk_version:\s*['\"]?([\d.]+)", header, re.MULTILINE)
    pinned = re.search(r"^gradio(?:\[\w+\])?==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert promised and pinned and promised[1] == pinned[1]
