"""Recipes in files: what is saved comes back exactly, and what strangers drop is refused in one sentence."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from safetensors.numpy import load_file, save

from backends.runtime import files, recipes
from backends.runtime.errors import UserError
from backends.runtime.recipe_files import read_recipe
from backends.runtime.recipes import (
    Input,
    Recipe,
    View,
    csv_text,
    into_json,
    into_metadata,
    into_png,
    into_svg,
    into_zip,
    versions,
)

SVG = """<?xml version="1.0" encoding="utf-8"?>\n<!-- > <svg> "quoted' -->
<svg class="main-svg" xmlns="http://www.w3.org/2000/svg" xmlns:xlink='http://www.w3.org/1999/xlink' width="70"
  style="font-family: 'Open Sans', verdana; content: '>'" viewBox="0 0 70 50"><style id="p"><![CDATA[
.trace > path { stroke: #0072B2; } /* a < b && c */ ]]></style><defs id="d"><clipPath id="c1">
<rect width="9" height="9"/></clipPath><g id="mark"><path d="M0,0L1,1Z"/></g></defs><g clip-path="url(#c1)">
<use xlink:href="#mark" x="3"/></g><svg x="9"><metadata id="vitrine">not at the top</metadata>
<text class="gtitle">σ² &amp; “β” &lt; 3 😀</text></svg>
<image xlink:href="data:image/png;base64,iVBORw0KGgo=" xml:space="preserve"/></svg>\n""".encode()
PIECES = ["\r\n", "\r", "\n", "\t", "\x00", "\x08", "\x1b[2J", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\uffff"]
PIECES += ["", " ", '"', "'", "\\", "\\ud800", "\\u0000", "NaN", "{}", "=1+1", "vitrine\0", "é", "e\u0301", "物語"]
PIECES += ["]]>", "<!--", "</metadata>", "<svg>", "&amp;", "&x;", "<!DOCTYPE a>", "😀👩‍🚀", "שלום \u202eabc", "مرحبا"]


def nasty(rng: random.Random, pieces: int = 40) -> str:
    return "".join(rng.choice(PIECES) if rng.random() < 0.8 else chr(rng.randrange(0xD800)) for _ in range(pieces))


def make(seed: int = 0, **other: object) -> Recipe:
    rng = random.Random(seed)
    settings = {"ratio": 0.4, "whole": 1.0, "count": 1, "on": True, "off": False, "tiny": 5e-324, "many": 10**30}
    settings |= {"ids": ["b", nasty(rng), ""], nasty(rng): nasty(rng), "none": []}
    pinned = View(settings={"count": 0, "zero": -0.0}, inputs={"text": Input.of(nasty(rng))})
    made = {"made": "2026-11-30T12:00:00+00:00", "versions": {"python": "3.11.7"}, "model": nasty(rng)}
    facts = {"excess": [0.1, None, {"deep": [True, 2]}], nasty(rng): nasty(rng)}
    whole = {"panel": "soco", "settings": settings, "inputs": {"story": Input.of(nasty(rng))}, "pinned": pinned}
    return Recipe(**(whole | {"link": "?tab=soco&removed=60", "facts": facts} | made | other))


def picture(mode: str = "RGBA", size: tuple[int, int] = (31, 17)) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 4), np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(target, "PNG", dpi=(144, 144))
    return target.getvalue()


KINDS: dict[str, Callable[[Recipe], bytes]] = {
    "PNG": lambda recipe: into_png(picture(), recipe),
    "SVG": lambda recipe: into_svg(SVG, recipe),
    "JSON file": lambda recipe: into_json(recipe, {"sum": 1.5, "words": ["物語"]}),
    "zip": lambda recipe: into_zip({"rows": csv_text([{"a": 1}])}, recipe),
    "safetensors file": lambda recipe: save({"scores": np.arange(6.0)}, into_metadata(recipe)),
}


@pytest.fixture
def drop(tmp_path: Path) -> Callable[[bytes], Recipe]:
    """Reads a file with this content and a name that tells nothing."""

    def read(content: bytes) -> Recipe:
        path = tmp_path / "upload.pdf"
        path.write_bytes(content)
        return read_recipe(path)

    return read


@pytest.fixture
def refused(drop, refusal) -> Callable[[bytes, str], None]:
    """Asserts that a file is refused with one sentence that matches."""

    def check(content: bytes, pattern: str) -> None:
        sentence = refusal(drop, content)
        assert re.search(pattern, sentence), sentence
        assert re.match("[A-Z]", sentence) and not re.search(r"[.!?]\s", sentence)

    return check


def same(one: Recipe, other: Recipe) -> bool:
    """Equal and of equal types: True == 1 == 1.0, but not in JSON."""
    return one == other and json.dumps(one.model_dump()) == json.dumps(other.model_dump())


# ---- what is saved -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_recipes_come_back_exactly(kind, drop):
    for seed in range(40):
        recipe = make(seed)
        assert same(drop(KINDS[kind](recipe)), recipe)
    least = Recipe(panel="a", settings={}, made="2026-01-01T00:00:00Z", versions={})
    assert same(drop(KINDS[kind](least)), least)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_a_megabyte_comes_back_exactly(kind, drop):
    rng = random.Random(1)
    text = nasty(rng, 20_000)
    text *= 1 + 2**20 // len(text.encode())
    recipe = make(inputs={"story": Input.of(text)})
    content = KINDS[kind](recipe)
    assert same(drop(content), recipe)
    if kind == "PNG":  # other programs can still open it
        with Image.open(io.BytesIO(content)) as image:
            assert json.loads(image.text["vitrine"]) == recipe.model_dump()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_png_keeps_its_pixels_and_tells_pillow_its_recipe(mode):
    recipe, plain = make(), picture(mode)
    with Image.open(io.BytesIO(plain)) as before, Image.open(io.BytesIO(into_png(plain, recipe))) as after:
        assert (after.mode, after.tobytes()) == (before.mode, before.tobytes())
        assert after.info["dpi"] == before.info["dpi"]
        assert json.loads(after.text["vitrine"]) == recipe.model_dump()
    assert len(into_png(plain, make(facts={"long": "x" * 100_000}))) < len(plain) + 10_000


def test_an_svg_keeps_every_byte_and_is_well_formed():
    labelled = into_svg(SVG, make())
    start, end = labelled.index(b'<metadata id="vitrine">'), labelled.index(b"</metadata>") + len(b"</metadata>")
    assert labelled[:start] + labelled[end:] == SVG
    before, after = ElementTree.fromstring(SVG), ElementTree.fromstring(labelled)
    assert after[0].tag == "{http://www.w3.org/2000/svg}metadata" and json.loads(after[0].text) == make().model_dump()
    after.remove(after[0])
    assert ElementTree.tostring(after) == ElementTree.tostring(before)
    assert after.find(".//{*}use").attrib == {"{http://www.w3.org/1999/xlink}href": "#mark", "x": "3"}


@pytest.mark.parametrize(
    "picture",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'<s:svg xmlns:s="http://www.w3.org/2000/svg" a="/>"><s:g/></s:svg>',
        b"<s:svg xmlns:s='http://www.w3.org/2000/svg' />",
        b"\xef\xbb\xbf" + SVG,
        SVG.replace(b"utf-8", b"iso-8859-1"),
    ],
    ids=["empty", "prefix", "empty prefix", "mark", "wrong encoding"],
)
def test_unusual_svgs_are_labelled_too(picture, drop):
    labelled = into_svg(picture, make())
    assert same(drop(labelled), make())
    assert ElementTree.fromstring(labelled)[0].tag == "{http://www.w3.org/2000/svg}metadata"


def test_an_svg_is_read_as_utf_8_whatever_it_declares(drop):
    assert same(drop(into_svg(SVG.replace(b"utf-8", b"no-such"), make())), make())


def test_json_zip_and_safetensors_hold_the_result_beside_the_recipe(tmp_path, drop):
    whole = json.loads(KINDS["JSON file"](make()))
    assert whole == {"recipe": make().model_dump(), "result": {"sum": 1.5, "words": ["物語"]}}
    with pytest.raises(ValueError, match="JSON compliant"):
        into_json(make(), {"sum": float("nan")})
    content = KINDS["zip"](make())
    assert content == KINDS["zip"](make())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None and sorted(archive.namelist()) == ["recipe.json", "rows.csv"]
        assert archive.read("rows.csv") == b"a\r\n1\r\n"
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert same(drop(archive.read("recipe.json")), make())
    for name in ("../rows", "a/b", "", ".a", "a\0"):
        with pytest.raises(ValueError, match="named by"):
            into_zip({name: ""}, make())
    (tmp_path / "scores").write_bytes(KINDS["safetensors file"](make()))
    assert (load_file(tmp_path / "scores")["scores"] == np.arange(6.0)).all()


def test_no_spreadsheet_finds_a_formula():
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")']
    rows = [{"a": text, "n": -1.5} for text in formulas] + [{"=b": "a=1", "n": True}, {"a": None, "n": np.float32(-2)}]
    read = list(csv.reader(io.StringIO(csv_text(rows), newline="")))
    assert read[0] == ["a", "n", "'=b"]
    assert read[1:8] == [[f"'{text}", "-1.5", ""] for text in formulas]
    assert read[8:] == [["", "True", "a=1"], ["", "-2.0", ""]]
    assert csv_text([]) == "\r\n"


def test_versions_are_those_that_are_installed():
    found = versions("pillow", "no-such-package-here")
    assert found == {"python": sys.version.split()[0], "pillow": Image.__version__}


def test_importing_the_module_is_cheap():
    heavy = {"torch", "gradio", "plotly", "PIL", "safetensors", "numpy"}
    code = f"import sys, backends.runtime.recipe_files; sys.exit(str(sorted({heavy} & set(sys.modules))))"
    run = subprocess.run([sys.executable, "-c", code], cwd=files.ROOT, capture_output=True, text=True)
    assert run.stderr.strip() == "[]"


# ---- what is no recipe ---------------------------------------------------------------------------------------------


NEVER: list[dict[str, object]] = [{"panel": "So"}, {"panel": "a\n"}, {"panel": "a" * 65}, {"vitrine": 2}, {"extra": 1}]
NEVER += [{"settings": {"a": value}} for value in (float("nan"), None, [1], "\ud800", {"a": 1})]
NEVER += [{"facts": {"a": value}} for value in (float("inf"), {1, 2}, np.zeros(1), "\udfff")]
NEVER += [{"link": link} for link in ("//x", "/\\x", "/\t/x", "https://x", "javascript:x", "?" + "é" * 1024)]
NEVER += [{"made": made} for made in ("now", "2026-13-01T00:00:00Z", "2026-01-01T00:00", "2026-01-01T00:00:00+01:00")]
NEVER += [{"settings": {"\ud800": 1}}, {"versions": {"a": 1}}]


@pytest.mark.parametrize("wrong", NEVER, ids=ascii)
def test_what_would_not_come_back_cannot_be_made(wrong):
    with pytest.raises(ValidationError):
        make(**wrong)


def test_the_faults_of_a_hostile_recipe_are_not_all_listed():
    with pytest.raises(ValidationError) as caught:
        make(settings={"a": [1] * 1000})
    assert caught.value.error_count() < 10


def test_a_text_that_is_no_unicode_is_refused_when_it_is_given(refusal):
    assert "half a character" in refusal(Input.of, "a\ud800")
    with pytest.raises(ValidationError, match="changed"):
        Input(text="a", sha256=Input.of("b").sha256)


def test_what_cannot_be_labelled_is_refused(refusal, monkeypatch):
    recipe, plain = make(), picture()
    for other in (b"", b"GIF89a", b"\xff\xd8\xff\xe0", SVG):
        assert "no PNG" in refusal(into_png, other, recipe)
    assert "damaged" in refusal(into_png, plain[:-1], recipe)
    assert "already" in refusal(into_png, KINDS["PNG"](recipe), recipe)
    assert "20000 x 20000 pixels" in refusal(into_png, png(20_000), recipe)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 31 * 17 - 1)
    assert "31 x 17 pixels" in refusal(into_png, plain, recipe)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 31 * 17)
    into_png(plain, recipe)
    for other, word in ((plain, "damaged"), (b"<a/>", "no SVG"), (SVG[:-9], "damaged"), (LAUGHS, "DOCTYPE")):
        assert word in refusal(into_svg, other, recipe)
    assert "already" in refusal(into_svg, KINDS["SVG"](recipe), recipe)
    long = make(inputs={"a": Input.of("\0" * (recipes.LIMIT // 6))})
    for content in KINDS.values():
        assert "more than 8 MB" in refusal(content, long)
    assert "more than 16 MB" in refusal(into_json, recipe, {"text": "x" * 2**24})


# ---- what strangers drop -------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(side: int, *bodies: bytes) -> bytes:
    """A PNG that claims to be that large, with text chunks of these bodies."""
    header = chunk(b"IHDR", struct.pack(">II5B", side, side, 8, 6, 0, 0, 0))
    texts = b"".join(chunk(b"iTXt", body) for body in bodies)
    return b"\x89PNG\r\n\x1a\n" + header + texts + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def zipped(*members: tuple[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", packed) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, packed)
    return target.getvalue()


def svg(*texts: str) -> bytes:
    body = "".join(f'<metadata id="vitrine">{text}</metadata>' for text in texts)
    return f'<svg xmlns="http://www.w3.org/2000/svg">{body}<g/></svg>'.encode("utf-8", "surrogatepass")


CARRY: dict[str, Callable[[str], bytes]] = {
    "PNG": lambda text: png(9, b"vitrine\0\1\0\0\0" + zlib.compress(text.encode())),
    "SVG": lambda text: svg(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")),
    "JSON file": lambda text: f'{{"result": [], "recipe": {text}}}'.encode(),
    "zip": lambda text: zipped(("recipe.json", text.encode())),
    "safetensors file": lambda text: save({"a": np.zeros(1)}, {"vitrine": text}),
}
TENFOLD = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
LAUGHS = f'<!DOCTYPE svg [<!ENTITY a0 "ha">{TENFOLD}]>'.encode() + svg("&a9;")


def changed(**fields: object) -> str:
    return json.dumps(make().model_dump() | fields)


STORY, OTHER = Input.of("a story").model_dump(), Input.of("another").model_dump()
HALF = {"text": "a\ud800", "sha256": STORY["sha256"]}
PLAIN = json.dumps(make().model_dump())
DEEPER = PLAIN[:-1] + ', "deeper": '
BAD_RECIPES = {
    "list": ("[]", "incomplete or wrong"),
    "no form": ("{}", "wrong at 'vitrine'"),
    "form": (changed(vitrine=0), "wrong at 'vitrine'"),
    "form as text": (changed(vitrine="1"), "wrong at 'vitrine'"),
    "form as truth": (changed(vitrine=True), "wrong at 'vitrine'"),
    "newer": (changed(vitrine=2, panel=7, news=[]), "newer Vitrine"),
    "much newer": (changed(vitrine=10**1000), "newer Vitrine"),
    "panel": (changed(panel="../soco"), "wrong at 'panel'"),
    "missing": (json.dumps({"vitrine": 1, "panel": "a", "settings": {}, "versions": {}}), "incomplete .* at 'made'"),
    "unknown": (changed(**{"<b>\n": 1}), "field that Vitrine does not know"),
    "setting": (changed(settings={"a": {"b": 1}}), "wrong at 'settings'"),
    "pinned": (changed(pinned={"inputs": {}}), "wrong at 'pinned'"),
    "link": (changed(link="//elsewhere.org"), "link .* no path and query"),
    "made": (changed(made="2026-11-30"), "wrong at 'made'"),
    "changed input": (changed(inputs={"a": STORY | {"text": "a Story"}}), "changed after it was saved"),
    "changed hash": (changed(inputs={"a": STORY | {"sha256": OTHER["sha256"]}}), "changed after it was saved"),
    "changed A": (changed(pinned={"settings": {}, "inputs": {"a": OTHER | {"text": ""}}}), "changed after"),
    "half in input": (changed(inputs={"a": HALF}), "half a character"),
    "half in setting": (changed(settings={"a": ["\udfff"]}), "half a character"),
    "half in name": (changed(settings={"\udfff": 1}), "half a character"),
    "half in facts": (changed(facts={"a": [{"\ud83d": 1}]}), "half a character"),
    "not a number": (PLAIN.replace("0.4", "NaN"), "not finite"),
    "infinite": (changed(facts={"a": [float("-inf")]}), "not finite"),
    "overflow": (PLAIN.replace("0.4", "1e999"), "not finite"),
    "long number": (PLAIN.replace("0.4", "9" * 5000), "damaged"),
    "twice": (PLAIN[:-1] + ', "panel": "pear"}', "field twice"),
    "bomb": (DEEPER + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    "bomb of objects": (DEEPER + '{"a":' * 100_000 + "1" + "}" * 100_001, "nested too deeply"),
    "deep": (PLAIN.replace('"facts": {', '"facts": {"b": ' + "[" * 300 + "]" * 300 + ", "), "nested too deeply"),
    "line": (PLAIN.replace('"soco"', '"so\nco"'), "damaged"),
    "torn": (PLAIN[:-20], "damaged"),
    "comment": (PLAIN + "//", "damaged"),
    "no text": ("", "damaged"),
    "many settings": (changed(settings={str(i): None for i in range(1001)}), "more than 1000 fields"),
    "unknown in A": (changed(pinned={"settings": {}, "link": ""}), "field that Vitrine does not know"),
    "unknown in input": (changed(inputs={"a": STORY | {"": 1}}), "field that Vitrine does not know"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", BAD_RECIPES)
def test_a_recipe_that_is_not_sound_is_refused(kind, bad, drop, refused):
    text, pattern = BAD_RECIPES[bad]
    assert same(drop(CARRY[kind](PLAIN)), make()), "the same file with a sound recipe is read"
    refused(CARRY[kind](text), pattern)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_recipe_says_so(kind, refused):
    none = {"PNG": picture(), "SVG": SVG, "JSON file": b'{"result": 1}', "zip": zipped(("rows.csv", b"a"))}
    none["safetensors file"] = save({"a": np.zeros(1)}, {"format": "np"})
    why = "it was not saved by Vitrine, or another program has removed it"
    refused(none[kind], rf"^This {kind} carries no recipe: {why}\.$")


@pytest.mark.parametrize("kind", KINDS)
def test_a_torn_file_is_refused_wherever_it_ends(kind, refused):
    content = KINDS[kind](make()).rstrip(b"\n")
    for end in [*random.Random(kind).sample(range(24, len(content)), 40), len(content) - 1]:
        refused(content[:end], f"^Th(is|e recipe in this) {kind} is damaged or incomplete")


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_never_does_more_than_refuse(kind, drop):
    content, rng, refusals = KINDS[kind](make()), random.Random(kind), 0
    for place in rng.sample(range(8 * len(content)), 250):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        try:
            assert isinstance(drop(bytes(flipped)), Recipe)
        except UserError:
            refusals += 1
    assert refusals > 20


MANY = zipped(*[(f"{number}.csv", b"") for number in range(101)])
RECIPE = ("recipe.json", PLAIN.encode())
WORDS = b"vitrine\0\0\0\0\0" + PLAIN.encode()
TINY = save({"a": np.zeros(1)}, {"vitrine": PLAIN})
BAD_FILES = {
    "empty": (b"", "^This file is empty"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(99), "no files of this kind"),
    "text": (b"vitrine", "no files of this kind"),
    "zeros": (bytes(99), "no files of this kind"),
    "json in utf-16": (PLAIN.encode("utf-16"), "no files of this kind"),
    "json list": (b"[1]", "JSON file carries no recipe"),
    "json with NUL": (b'{"recipe": {}\0}', "JSON file is damaged"),
    "json in latin-1": ('{"é": 1}'.encode("latin-1"), "JSON file is damaged"),
    "json result not finite": (f'{{"recipe": {PLAIN}, "result": Infinity}}'.encode(), "not finite"),
    "json twice": (f'{{"recipe": {PLAIN}, "recipe": {PLAIN}}}'.encode(), "field twice"),
    "png with other words": (png(9, WORDS.replace(b"vitrine", b"Comment")), "no recipe"),
    "png twice": (png(9, *[b"vitrine\0\0\0\0\0{}"] * 2), "more than one recipe"),
    "png not unicode": (png(9, b"vitrine\0\0\0\0\0\xff\xfe"), "recipe in this PNG is damaged"),
    "png not packed": (png(9, b"vitrine\0\1\0\0\0" + PLAIN.encode()), "PNG is damaged"),
    "png half packed": (png(9, b"vitrine\0\1\0\0\0" + zlib.compress(PLAIN.encode())[:-9]), "PNG is damaged"),
    "png altered": (png(9, WORDS).replace(b"60", b"61"), "PNG is damaged"),
    "png short": (png(9, b"vitrine\0"), "PNG is damaged"),
    "png no header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "PNG is damaged"),
    "svg doctype": (b"<!DOCTYPE svg>" + svg(PLAIN), "DOCTYPE"),
    "svg laughs": (LAUGHS, "DOCTYPE"),
    "svg outside": (b'<!DOCTYPE svg SYSTEM "file:///etc/passwd">' + svg(PLAIN), "DOCTYPE"),
    "svg entity": (svg("&a;"), "SVG is damaged"),
    "svg NUL": (svg("{}\0"), "SVG is damaged"),
    "svg half": (svg("\ud800"), "SVG is damaged"),
    "svg twice": (svg("{}", "{}"), "more than one recipe"),
    "html": (b"<html><body/></html>", "no SVG"),
    "svg of no space": (b"<svg/>", "no SVG"),
    "zip empty": (zipped(), "no recipe"),
    "zip elsewhere": (zipped(("../recipe.json", RECIPE[1])), "no recipe"),
    "zip crowded": (MANY, "more than 100 entries"),
    "zip directory": (zipped(RECIPE, ("x" * 65_000, b""), ("y" * 65_000, b"")), "more than 100 entries"),
    "zip lying count": (MANY[:-14] + struct.pack("<HH", 1, 1) + MANY[-10:], "more than 100 entries"),
    "zip64": (zipped(RECIPE)[:-22] + b"PK\6\7" + bytes(16) + zipped(RECIPE)[-22:], "more than 100 entries"),
    "zip lzma": (zipped(RECIPE, packed=zipfile.ZIP_LZMA), "zip is damaged"),
    "zip locked": (zipped(RECIPE).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"), "zip is damaged"),
    "safetensors lies": (struct.pack("<Q", 2**62) + TINY[8:], "safetensors file is damaged"),
    "safetensors shape": (TINY.replace(b'"shape":[1]', b'"shape":[9]'), "safetensors file is damaged"),
    "safetensors metadata": (TINY.replace(b'{"vitrine"', b'[ vitrine"'), "safetensors file is damaged"),
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_file_that_is_not_sound_is_refused(bad, refused):
    refused(*BAD_FILES[bad])


LARGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "json": (lambda: b"{" + b" " * 2**24 + b"}", "more than 16 MB"),
    "png": (lambda: picture() + bytes(2**26), "more than 64 MB"),
    "svg": (lambda: svg() + b" " * 2**26, "more than 64 MB"),
    "png of crumbs": (lambda: png(9)[:33] + chunk(b"IDAT", b"") * 10**5 + png(9)[33:], "PNG is damaged"),
    "svg of crumbs": (lambda: svg("<g/>" * 10**6), "too many elements"),
    "svg deep": (lambda: svg("<g>" * 99 + "</g>" * 99), "nested too deeply"),
    "safetensors": (lambda: struct.pack("<Q", 2**25 + 8) + TINY[8:-8].ljust(2**25 + 8) + TINY[-8:], "damaged"),
}


@pytest.mark.parametrize("large", LARGE)
def test_what_is_too_large_is_refused(large, refused):
    refused(LARGE[large][0](), LARGE[large][1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_may_have_8_mb(kind, drop, refused):
    text = changed(facts={"a": "x" * (recipes.LIMIT - len(changed(facts={"a": ""})))})
    assert len(text) == recipes.LIMIT
    assert len(drop(CARRY[kind](text)).facts["a"]) > 2**22
    refused(CARRY[kind](text.replace("xx", "xxx", 1)), f"recipe in this {kind} has more than 8 MB")


def test_two_recipes_in_one_zip_are_refused(refused):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped(RECIPE, RECIPE)
    refused(content, "more than one recipe")


def test_bombs_are_not_unpacked(refused):
    zeros = bytes(2**28)
    packed = zlib.compress(zeros, 1)
    bombs = [png(9, b"vitrine\0\1\0\0\0" + packed), zipped(("recipe.json", zeros))]
    del zeros
    for bomb in bombs:
        tracemalloc.start()
        refused(bomb, "more than 8 MB")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**26


def test_pixels_are_never_decoded(drop):
    assert same(drop(png(20_000, WORDS)), make())


def test_what_is_no_file_is_refused(tmp_path, refusal):
    for path in (tmp_path, tmp_path / "absent"):
        assert "could not be read" in refusal(read_recipe, path)
