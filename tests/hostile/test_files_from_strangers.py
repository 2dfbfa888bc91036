"""What strangers upload, drop on a panel, and ask for by its address."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.conftest import PATIENCE, ROOT
from tests.hostile.wire import Answer, Visitor, faults, file

SENTENCE = re.compile(r"[A-Z“][^\n\r]{20,200}\.")
MADE = "2026-11-30T12:00:00+00:00"


def recipe(key: str, **other: Any) -> str:
    return json.dumps({"vitrine": 1, "panel": key, "settings": {}, "made": MADE, "versions": {}} | other)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*texts: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">II5B", 9, 9, 8, 6, 0, 0, 0))
    said = b"".join(chunk(b"iTXt", b"vitrine\0\1\0\0\0" + zlib.compress(text)) for text in texts)
    return b"\x89PNG\r\n\x1a\n" + header + said + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def svg(text: str, head: str = "") -> bytes:
    return f'{head}<svg xmlns="http://www.w3.org/2000/svg"><metadata id="vitrine">{text}</metadata></svg>'.encode()


def zipped(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def tensors(key: str) -> bytes:
    return save({"a": np.zeros(64)}, {"vitrine": recipe(key)})


def laughs(key: str) -> bytes:
    tenfold = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    return svg("&a9;", f'<!DOCTYPE svg [<!ENTITY a0 "ha">{tenfold}]>')


SOUND: dict[str, Callable[[str], bytes]] = {
    "png": lambda key: png(recipe(key).encode()),
    "svg": lambda key: svg(recipe(key)),
    "json": lambda key: recipe(key).encode(),
    "zip": lambda key: zipped(**{"recipe.json": recipe(key).encode()}),
    "safetensors": tensors,
}
HOSTILE: dict[str, Callable[[str], bytes]] = {
    "empty.png": lambda key: b"",
    "truncated.png": lambda key: SOUND["png"](key)[:-20],
    "without.png": lambda key: png(),
    "twice.png": lambda key: png(b"{}", b"{}"),
    "bomb.png": lambda key: png(bytes(50_000_000)),
    "jpeg.png": lambda key: b"\xff\xd8\xff\xe0" + bytes(99),
    "entities.svg": laughs,
    "outside.svg": lambda key: svg(recipe(key), '<!DOCTYPE svg SYSTEM "file:///etc/passwd">'),
    "script.svg": lambda key: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "deep.svg": lambda key: svg("<g>" * 99_999 + "</g>" * 99_999),
    "bomb.zip": lambda key: zipped(**{"recipe.json": bytes(50_000_000)}),
    "outside.zip": lambda key: zipped(**{"../../recipe.json": recipe(key).encode(), "/etc/recipe.json": b"{}"}),
    "crowded.zip": lambda key: zipped(**{f"{number}.csv": b"" for number in range(1000)}),
    "half.zip": lambda key: SOUND["zip"](key)[:60],
    "deep.json": lambda key: b'{"recipe": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deeper.json": lambda key: b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000,
    "nan.json": lambda key: recipe(key, settings={"a": float("nan")}).encode(),
    "infinite.json": lambda key: recipe(key).replace("{}", '{"a": 1e999}', 1).encode(),
    "list.json": lambda key: b"[1]",
    "half.json": lambda key: recipe(key)[:-9].encode(),
    "latin.json": lambda key: '{"é": 1}'.encode("latin-1"),
    "surrogate.json": lambda key: recipe(key, settings={"a": "\ud800"}).encode(),
    "empty.safetensors": lambda key: b"",
    "half.safetensors": lambda key: tensors(key)[:-300],
    "garbage.safetensors": lambda key: bytes(range(256)) * 9,
    "header.safetensors": lambda key: struct.pack("<Q", 2**62) + tensors(key)[8:],
    "shape.safetensors": lambda key: tensors(key).replace(b'"shape":[64]', b'"shape":[96]'),
    "stranger.json": lambda key: recipe("nonsense").encode(),
    "path.json": lambda key: recipe("../../etc").encode(),
    "names.json": lambda key: recipe(key, settings={"x\n\u202e" * 3000: 1}).encode(),
    "markup.json": lambda key: recipe(key, settings={"<img src=x onerror=alert(1)>" * 300: 1}).encode(),
    "argument.json": lambda key: recipe(key, settings={"model": 1, "self": 1}).encode(),
    "fields.json": lambda key: recipe(key, nonsense=1).encode(),
    "facts.json": lambda key: recipe(key, facts={"a": "x" * 9_000_000}).encode(),
}
OUT_OF_RANGE: dict[str, Any] = {"far": -1e9, "text": "5", "list": [], "true": True, "tiny": 5e-324}


def restores(visitor: Visitor) -> dict[str, int]:
    """The event of each panel that takes a file back."""
    found = visitor.on("-restore")
    assert len(found) == len(visitor.public)
    return {name.removesuffix("-restore"): event["id"] for name, event in found.items()}


def refusal(answer: Answer) -> str:
    """What is wrong with the refusal of a file; "" if it is one sentence."""
    sentence = str(answer.said[0]) if answer.said else ""
    if answer.fault or not SENTENCE.fullmatch(sentence) or re.search(r"[.!?]\s", sentence):
        return answer.fault or sentence or f"taken: {answer.text[-300:]}"
    return "" if sentence.isprintable() else ascii(sentence)


def dropped(visitor: Visitor, content: Callable[[str], bytes], name: str) -> dict[str, str]:
    def case(key: str, number: int) -> Callable[[], str]:
        return lambda: refusal(visitor.drop(number, content(key), name))

    return faults((key, case(key, number)) for key, number in restores(visitor).items())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """An address that nobody may be made to visit."""
    with socket.create_server(("127.0.0.1", 0)) as waiting:
        waiting.setblocking(False)
        yield waiting
        with pytest.raises(BlockingIOError):
            waiting.accept()


# ---- what is dropped on a panel --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_file_is_taken(visitor: Visitor, kind: str) -> None:
    for key, number in restores(visitor).items():
        answer = visitor.drop(number, SOUND[kind](key), f"sound.{kind}")
        assert not answer.fault and answer.data


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence(visitor: Visitor, name: str) -> None:
    assert dropped(visitor, HOSTILE[name], name) == {}


@pytest.mark.parametrize("name", ["x.pkl", "x.html", "x.exe", "recipe.json.php"])
def test_a_file_of_another_kind_is_refused(visitor: Visitor, name: str) -> None:
    for key, number in restores(visitor).items():
        answer = visitor.drop(number, recipe(key).encode(), name)
        assert answer.fault == "" and answer.said


@pytest.mark.parametrize("value", OUT_OF_RANGE)
def test_settings_out_of_range_are_refused_in_one_sentence(visitor: Visitor, value: str) -> None:
    numbers = {endpoint: one["parameter_name"] for endpoint, one in visitor.parameters("number")}

    def content(key: str) -> bytes:
        return recipe(key, settings={numbers[key]: OUT_OF_RANGE[value]}).encode()

    assert dropped(visitor, content, "range.json") == {}


@pytest.mark.parametrize("name", ["x.safetensors", "x.json", "x.zip", "x.png"])
def test_a_pickle_is_never_unpickled(visitor: Visitor, name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickled = f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode()
    content = zipped(**{"data.pkl": pickled, "archive/data.pkl": pickled}) if name == "x.zip" else pickled
    assert dropped(visitor, lambda key: content, name) == {}
    assert not canary.exists()


def test_what_a_file_says_of_its_versions_is_said_shortly(visitor: Visitor) -> None:
    for key, number in restores(visitor).items():
        versions = {"torch": "<b>1\n" * 9999, "plotly": "\u202e1", "nonsense": "1" * 9999}
        answer = visitor.drop(number, recipe(key, versions=versions).encode(), "versions.json")
        told = [one["log"] for one in answer.events if one.get("msg") == "log"]
        assert not answer.fault and len(told) == 1
        assert "torch" in told[0] and told[0].isprintable() and len(told[0]) < 300


# ---- uploads ---------------------------------------------------------------------------------------------------------


def test_more_than_20_mb_are_refused(visitor: Visitor) -> None:
    sent = visitor.http.post("/gradio_api/upload", files={"files": ("a.png", bytes(21_000_000))})
    assert sent.status_code == 413 and "Traceback" not in sent.text


@pytest.mark.parametrize("name", ["../../evil.py", "..\\..\\evil.py", "/evil.py", "%2e%2e%2fevil.py", "a\0/../evil.py"])
def test_a_name_leads_nowhere(visitor: Visitor, name: str) -> None:
    sent = visitor.http.post("/gradio_api/upload", files={"files": (name, b"evil")})
    assert sent.status_code in (200, 400, 422)
    if sent.status_code == 200:
        folder = Path(visitor.process.environ()["GRADIO_TEMP_DIR"])
        assert Path(sent.json()[0]).resolve().is_relative_to(folder.resolve())
    assert not any((place / "evil.py").exists() for place in (ROOT, ROOT.parent, Path("/")))


@pytest.mark.parametrize("name", ["x.html", "x.svg", "x.xhtml", "x.js", "x.xml"])
def test_an_upload_is_not_shown_as_a_page(visitor: Visitor, name: str) -> None:
    path = visitor.http.post("/gradio_api/upload", files={"files": (name, b"<script>alert(1)</script>")}).json()[0]
    got = visitor.http.get(f"/gradio_api/file={path}")
    assert got.headers["Content-Type"].startswith("application/octet-stream")
    assert got.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("path", ["/etc/passwd", "ROOT/app.py", "app.py", "../app.py", "http://LISTENER/a.json"])
def test_a_file_that_was_not_uploaded_is_not_read(visitor: Visitor, path: str, listener: socket.socket) -> None:
    path = path.replace("LISTENER", f"127.0.0.1:{listener.getsockname()[1]}").replace("ROOT", str(ROOT))
    for number in restores(visitor).values():
        for sent in (file(path), file("a.json") | {"url": path}, path, [file(path)]):
            answer = visitor.event(number, json.dumps([sent]))
            assert answer.status < 500 and answer.data is None, answer.text


# ---- addresses -------------------------------------------------------------------------------------------------------


UP = "../" * 8
PREFIXES = ["", "/", "//", "/./", "./", UP, "/" + UP, "a/" + UP, UP.replace("/", "%2f"), UP.replace("/", "%2F")]
PREFIXES += [UP.replace(".", "%2e"), UP.replace(".", "%2E").replace("/", "%2f"), UP.replace("/", "%252f")]
PREFIXES += [UP.replace(".", "%252e"), UP.replace("/", "\\"), UP.replace("/", "%5c"), UP.replace("/", "%255c")]
PREFIXES += [UP.replace("../", other) for other in ("....//", "..;/", "..//", ".../", "%c0%ae%c0%ae/", ".%00./")]
PREFIXES += ["%00", "%00/", "file:", "file://", "file:///", "FILE:///", "~/", "~root/", "$HOME/", "..%ef%bc%8f", "%ff"]
PREFIXES += ["C:\\", "c:/", "\\\\127.0.0.1\\c$\\", "/proc/self/cwd/", "/proc/self/root/", "/dev/fd/", "%2fproc%2fself/"]
PREFIXES += ["assets/../", "demos/kit/..%2f..%2f", "%e2%80%ae", "%0d%0aX-Evil:%201/", "?/../", "x" * 3000]
PREFIXES += ["http://169.254.169.254/", "https://169.254.169.254/", "//169.254.169.254/", "http:%2f%2f169.254.169.254/"]
PREFIXES += ["http://LISTENER/", "//LISTENER/", "http://[::1]/", "http://0x7f000001/", "ftp://[::1]/", "gopher://x/"]
ROUTES = ["/gradio_api/file=", "/gradio_api/file/", "/file=", "/assets/", "/static/", "/svelte/", "/gradio_api/proxy="]
ROUTES += ["/proxy=", "/custom_component/1/client/component/"]


@pytest.mark.parametrize("route", ROUTES)
def test_no_spelling_leads_out(visitor: Visitor, route: str, listener: socket.socket) -> None:
    wrong, line = {}, http.client.HTTPConnection("127.0.0.1", visitor.port, timeout=20 * PATIENCE)
    line._validate_path = lambda path: None  # as curl --path-as-is
    for prefix in PREFIXES:
        for target in ("etc/passwd", "app.py", "latest/meta-data/"):
            path = route + prefix.replace("LISTENER", f"127.0.0.1:{listener.getsockname()[1]}") + target
            line.request("GET", path)
            answer = line.getresponse()
            text = answer.read().decode(errors="replace")
            visitor.seen(Answer(answer.status, text), path)
            if answer.status not in (400, 403, 404) or "root:" in text or answer.getheader("Location"):
                wrong[path] = f"{answer.status}: {text[:100]}"
    line.close()
    assert len(PREFIXES) > 50 and wrong == {}
