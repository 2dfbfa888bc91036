"""Gradio's scripts from memory: the same contents, kept for good, and nothing outside the folder."""

from __future__ import annotations

import brotli
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from demos.kit.assets import FOLDER, Assets, compress_all, compressed

SCRIPT = "export const a = 1;\n" * 400
PLAIN, PACKED = {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip, deflate, br"}


@pytest.fixture
def client(tmp_path):
    folder = tmp_path / "assets"
    (folder / "deep").mkdir(parents=True)
    (folder / "a-1f.js").write_text(SCRIPT)
    (folder / "deep" / "b-2e.css").write_text("p { color: red }")
    (folder / "c.woff2").write_bytes(bytes(range(256)))
    (tmp_path / "secret.js").write_text("secret")
    return TestClient(Starlette(routes=[Mount("/assets", Assets(folder))]))


def test_the_contents_are_the_file_s_either_way(client):
    plain, packed = client.get("/assets/a-1f.js", headers=PLAIN), client.get("/assets/a-1f.js", headers=PACKED)
    assert plain.text == packed.text == SCRIPT
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "br"
    assert int(packed.headers["content-length"]) < len(SCRIPT) / 10
    assert plain.headers["content-type"] == packed.headers["content-type"]
    assert "javascript" in packed.headers["content-type"]
    assert "immutable" in packed.headers["cache-control"]
    assert packed.headers["vary"] == "Accept-Encoding"


def test_what_is_compressed_by_its_nature_goes_as_it_is(client):
    answer = client.get("/assets/c.woff2", headers=PACKED)
    assert answer.content == bytes(range(256))
    assert "content-encoding" not in answer.headers


def test_a_browser_that_has_the_file_is_told_so(client):
    tag = client.get("/assets/deep/b-2e.css", headers=PACKED).headers["etag"]
    again = client.get("/assets/deep/b-2e.css", headers={**PACKED, "If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_a_part_is_a_part_of_the_file_itself(client):
    answer = client.get("/assets/a-1f.js", headers={**PACKED, "Range": "bytes=0-5"})
    assert (answer.status_code, answer.text) == (206, SCRIPT[:6])


@pytest.mark.parametrize("path", ["none.js", "../secret.js", "%2e%2e/secret.js", "deep", "a-1f.js/x"])
def test_nothing_else_is_served(client, path):
    assert client.get(f"/assets/{path}", headers=PACKED).status_code == 404


def test_gradio_s_own_folder_compresses_to_itself():
    script = next(FOLDER.glob("index-*.js"))
    assert brotli.decompress(compressed(script)) == script.read_bytes()


def test_everything_is_compressed_before_it_is_asked_for(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("x.js", "deep/y.css", "z.png"):
        (tmp_path / name).write_text("body")
    before = compressed.cache_info().currsize
    compress_all(tmp_path)
    assert compressed.cache_info().currsize == before + 2
