"""Every file that is handed out carries its recipe: enough to see the same result again.

It lies where each kind of file keeps words about itself: a text chunk of a PNG, the metadata of an SVG or of
safetensors, a field of a JSON object, recipe.json in a zip of tables. `read_recipe` takes files from strangers: it
unpacks and expands nothing but the recipe, decodes no pixels, and whatever it refuses is a UserError.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from numbers import Number
from pathlib import Path
from typing import Annotated, Any, Literal
from xml.parsers import expat

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from backends.runtime.errors import UserError

FORMAT = 1
LIMIT = 8 * 2**20  # bytes of a recipe, and how much of one is ever unpacked
_PICTURE, _JSON, _HEADER = 64 * 2**20, 16 * 2**20, 32 * 2**20  # what is read at once of a file
_PIECE = 4 * 2**20
_PILLOWS = 2**20  # Pillow opens no PNG with a longer compressed text
_FIELDS, _DEEPEST, _ENTRIES, _CHUNKS, _ELEMENTS = 1000, 100, 100, 100_000, 1_000_000
_PNG, _SVG = b"\x89PNG\r\n\x1a\n", "http://www.w3.org/2000/svg"
_OPENING = re.compile(rb"<([^\s/>]++)(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>")


def _plain(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("plain", sentence)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise _plain("A text in the recipe holds half a character: remove it and save the result again.") from fault
    return text


def _link(link: str) -> str:
    # As the target of <a>, // and /\ lead to another host; browsers drop tabs and line ends before they look.
    if len(link.encode()) > 2048 or not re.fullmatch(r"([/?]([^\s\x00-\x1f\x7f/\\][^\s\x00-\x1f\x7f]*)?)?", link):
        raise _plain("The link in the recipe is no path and query of at most 2 KB: save the result again.")
    return link


def _moment(made: str) -> str:
    if not re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(Z|\+00:00)", made):
        raise ValueError("no UTC time with seconds")
    datetime.fromisoformat(made)
    return made


def _facts(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts as JSON gives them back: lists for tuples, texts for keys."""
    if _deep(facts, _DEEPEST):
        raise _plain("The facts in the recipe are nested too deeply: save the result again.")
    try:
        return json.loads(_text(json.dumps(facts, ensure_ascii=False, allow_nan=False)))
    except TypeError as fault:
        raise ValueError("no JSON") from fault


def _deep(value: Any, room: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return not room or any(_deep(part, room - 1) for part in parts)


Text = Annotated[str, AfterValidator(_text)]
Setting = bool | int | float | Text | Annotated[list[Text], Field(fail_fast=True)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _small(cls, data: Any) -> Any:
        # pydantic lists every fault: for a hostile recipe of 8 MB that took gigabytes.
        if isinstance(data, dict):
            if data.keys() - cls.model_fields.keys():
                raise _plain("The recipe has a field that Vitrine does not know: save the result again.")
            if any(isinstance(part, dict) and len(part) > _FIELDS for name, part in data.items() if name != "facts"):
                raise _plain(f"The recipe has more than {_FIELDS} fields in one place: save the result again.")
        return data


class Input(_Part):
    """What is too large for a setting: a text, or the JSON of a graph or a page; sha256 is that of its UTF-8 bytes."""

    text: Text
    sha256: str

    @classmethod
    def of(cls, text: str) -> Input:
        """The text with its hash. Raises UserError for a lone surrogate."""
        try:
            return cls(text=text, sha256=hashlib.sha256(text.encode()).hexdigest())
        except UnicodeEncodeError as fault:
            raise UserError("The text holds half a character (a lone surrogate): remove it or type it anew.") from fault

    @model_validator(mode="after")
    def _unchanged(self) -> Input:
        if hashlib.sha256(self.text.encode()).hexdigest() != self.sha256:
            raise _plain("An input in this file was changed after it was saved: drop an untouched copy.")
        return self


class View(_Part):
    """What was asked for."""

    settings: dict[Text, Setting]
    inputs: dict[Text, Input] = {}


class Recipe(_Part):
    """How a result was made. Whatever can be constructed comes back equal from every kind of file.

    pinned: what A was; link: path and query; made: ISO 8601 in UTC, to the second; model: the weights' fingerprint;
    facts: the result in numbers and words, as JSON.
    """

    vitrine: Literal[1] = FORMAT
    panel: str = Field(pattern="^[a-z][a-z0-9_]*$", max_length=64)
    settings: dict[Text, Setting]
    inputs: dict[Text, Input] = {}
    pinned: View | None = None
    link: Annotated[Text, AfterValidator(_link)] = ""
    made: Annotated[str, AfterValidator(_moment)]
    versions: dict[Text, Text]
    model: Text = ""
    facts: Annotated[dict[str, Any], AfterValidator(_facts)] = {}


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    import platform
    from importlib import metadata

    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


# ---- writing -------------------------------------------------------------------------------------------------------


def into_png(picture: bytes, recipe: Recipe) -> bytes:
    """The PNG with the recipe as a text chunk; all else stays byte for byte. Raises UserError for what is no PNG."""
    from PIL import Image

    if not picture.startswith(_PNG):
        raise UserError("The picture is no PNG: save the figure again.")
    if _png_chunks(picture):
        raise _second("PNG")
    width, height = struct.unpack_from(">II", picture, len(_PNG) + 8)
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
        raise UserError(f"The picture has {width} x {height} pixels, too many to keep: make it smaller.")
    text = _dumps(recipe).encode()
    packed = b"\1\0\0\0" + zlib.compress(text) if len(text) <= _PILLOWS else b"\0\0\0\0" + text
    chunk = b"iTXtvitrine\0" + packed
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    start = len(_PNG) + 25  # IHDR comes first and has 25 bytes
    return picture[:start] + chunk + picture[start:]


def into_svg(picture: bytes, recipe: Recipe) -> bytes:
    """The SVG with the recipe as its first element; all else stays byte for byte. Raises UserError for what is no SVG.

    Takes UTF-8 without DOCTYPE. The recipe goes in as ASCII, with JSON's escapes: XML cannot write most controls.
    """
    scan = _Scan(picture)
    if scan.texts:
        raise _second("SVG")
    opening = _OPENING.match(picture, scan.root)
    text = _dumps(recipe).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").encode("ascii")
    name = b"".join(opening[1].rpartition(b":")[:2]) + b"metadata"
    metadata = b'<%b id="vitrine">%b</%b>' % (name, text, name)
    start, rest = picture[: opening.end()], picture[opening.end() :]
    if start.endswith(b"/>"):
        return start[:-2] + b">" + metadata + b"</%b>" % opening[1] + rest
    return start + metadata + rest


def into_json(recipe: Recipe, result: Mapping[str, Any]) -> bytes:
    """{"recipe": ..., "result": ...}. Raises UserError if that is too long to be read again."""
    _dumps(recipe)
    whole = {"recipe": recipe.model_dump(), "result": result}
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    if len(text) > _JSON:
        raise UserError(f"The result has more than {_size(_JSON)} as JSON: save it in another form.")
    return text


def into_zip(tables: Mapping[str, str], recipe: Recipe) -> bytes:
    """NAME.csv for each table, and recipe.json. The same content gives the same bytes."""
    if len(tables) >= _ENTRIES or not all(re.fullmatch(r"\w[\w -]*", name) for name in tables):
        raise ValueError("fewer than 100 tables, named by letters, digits, spaces, _ and -")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        files = {"recipe.json": _dumps(recipe, indent=1)} | {f"{name}.csv": table for name, table in tables.items()}
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, text.encode(), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def into_metadata(recipe: Recipe) -> dict[str, str]:
    """What safetensors' `save_file` takes as metadata."""
    return {"vitrine": _dumps(recipe)}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a column for every key. Text that a spreadsheet would run as a formula gets an apostrophe."""

    def cell(value: Any) -> Any:
        if value is None or isinstance(value, Number):
            return value
        return f"'{value}" if str(value).startswith(("=", "+", "-", "@", "\t", "\r")) else str(value)

    target, keys = io.StringIO(), list(dict.fromkeys(key for row in rows for key in row))
    table = csv.writer(target)
    table.writerow([cell(key) for key in keys])
    table.writerows([cell(row.get(key)) for key in keys] for row in rows)
    return target.getvalue()


def _dumps(recipe: Recipe, indent: int | None = None) -> str:
    text = json.dumps(recipe.model_dump(), indent=indent, allow_nan=False)
    if len(text) > LIMIT:
        raise UserError(f"The recipe of this result has more than {_size(LIMIT)}: take a shorter input.")
    return text


def _second(kind: str) -> UserError:
    return UserError(f"This {kind} carries a recipe already: save the result again from its panel.")


# ---- reading -------------------------------------------------------------------------------------------------------


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file of any kind, told by its first bytes. Raises UserError, without paths, for anything else."""
    try:
        with path.open("rb") as file:
            kind = _kind(file.read(1024))
        return _recipe(_parsed(_only(_READERS[kind](path), kind), f"The recipe in this {kind}"), kind)
    except OSError as fault:
        raise UserError("The file could not be read: drop it again.") from fault
    except RecursionError as fault:
        raise UserError("This file is nested too deeply: save the result again from its panel.") from fault


def _only(texts: Sequence[bytes | str], kind: str) -> bytes | str:
    if not texts:
        raise UserError(
            f"This {kind} carries no recipe: it was not saved by Vitrine, or another program has removed it."
        )
    if len(texts) > 1:
        raise UserError(f"This {kind} carries more than one recipe: save the result again from its panel.")
    if len(texts[0]) > LIMIT:
        raise UserError(f"The recipe in this {kind} has more than {_size(LIMIT)}: save a result with shorter inputs.")
    return texts[0]


def _recipe(found: Any, kind: str) -> Recipe:
    form = found.get("vitrine") if isinstance(found, dict) else None
    if isinstance(form, int) and form > FORMAT:
        raise UserError(f"The recipe in this {kind} was made by a newer Vitrine: update this one, or drop it there.")
    if type(form) is not int:
        raise _wrong(kind, "vitrine")
    try:
        return Recipe.model_validate(found)
    except ValidationError as fault:
        faults = fault.errors(include_url=False, include_input=False)
        plain = [error["msg"] for error in faults if error["type"] == "plain"]
        raise (UserError(plain[0]) if plain else _wrong(kind, faults[0]["loc"][0])) from fault


def _kind(start: bytes) -> str:
    if not start:
        raise UserError("This file is empty: save the result again and drop the new file.")
    if start.startswith(_PNG):
        return "PNG"
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if start[8:9] == b"{" and b"\0" in start[:8]:  # the header's length comes before it
        return "safetensors file"
    first = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first not in (b"<", b"{", b"["):
        raise UserError("Vitrine saves no files of this kind: drop a PNG, SVG, JSON, safetensors or zip from a panel.")
    return "SVG" if first == b"<" else "JSON file"


def _parsed(text: bytes | str, what: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            raise UserError(f"{what} has a field twice: save it again from its panel.")
        return found

    def finite(number: str) -> float:
        if not math.isfinite(value := float(number)):
            raise UserError(f"{what} holds a number that is not finite: save it again from its panel.")
        return value

    try:
        text = text if isinstance(text, str) else str(text, "utf-8-sig")
        return json.loads(text, object_pairs_hook=once, parse_float=finite, parse_constant=finite)
    except ValueError as fault:
        raise _damaged(what) from fault


def _read(path: Path, most: int, kind: str) -> bytes:
    if path.stat().st_size > most:
        raise UserError(f"This {kind} has more than {_size(most)}: drop a smaller one.")
    return path.read_bytes()


def _from_png(path: Path) -> list[bytes]:
    chunks = _png_chunks(_read(path, _PICTURE, "PNG"))
    if len(chunks) != 1:
        return chunks
    try:
        _, _, text = chunks[0][10:].split(b"\0", 2)
        if chunks[0][8] == 0:
            return [text]
        return [zlib.decompressobj().decompress(text, LIMIT + 1)]
    except (ValueError, IndexError, zlib.error) as fault:
        raise _damaged("This PNG") from fault


def _png_chunks(data: bytes) -> list[bytes]:
    """The chunks with a recipe in a PNG that is whole. Looks at checksums, never at pixels."""
    found, at, view = [], len(_PNG), memoryview(data)
    try:
        for place in range(_CHUNKS):
            length, name = struct.unpack_from(">I4s", data, at)
            body = view[at + 8 : at + 8 + length]
            if struct.unpack_from(">I", data, at + 8 + length) != (zlib.crc32(body, zlib.crc32(name)),):
                break
            if (place == 0) != ((name, length) == (b"IHDR", 13)):
                break
            if name == b"IEND":
                return found
            if name == b"iTXt" and body[:8] == b"vitrine\0":
                found.append(bytes(body))
            at += 12 + length
    except struct.error:
        pass
    raise _damaged("This PNG")


def _from_svg(path: Path) -> list[str]:
    return _Scan(_read(path, _PICTURE, "SVG")).texts


class _Scan:
    """One pass over an SVG: the recipes' texts, and the byte where the root element starts."""

    def __init__(self, data: bytes) -> None:
        self.root, self.texts, self._depth, self._count, self._inside = 0, [], 0, 0, False
        self._parser = parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text, parser.buffer_size = True, 2**20  # a text in few pieces
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        # Before the parser sees it: what a handler raises does not stop it before the end of the piece.
        if b"<!DOCTYPE" in data:
            raise UserError("This SVG has a DOCTYPE, where entities hide, which is never read: save it without one.")
        try:
            for at in range(0, len(data), _PIECE):
                parser.Parse(data[at : at + _PIECE])
            parser.Parse(b"", True)
        except expat.ExpatError as fault:
            raise _damaged("This SVG") from fault

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            self.root = self._parser.CurrentByteIndex
            if name != f"{_SVG} svg":
                raise UserError("This file is no SVG, though it looks like XML: drop a file saved from a panel.")
        self._count += 1
        if self._depth > _DEEPEST or self._count > _ELEMENTS:
            raise UserError("This SVG is nested too deeply or has too many elements: save it again from its panel.")
        self._inside = self._depth == 2 and name == f"{_SVG} metadata" and attributes.get("id") == "vitrine"
        if self._inside:
            self.texts.append("")

    def _end(self, _: str) -> None:
        self._depth -= 1
        self._inside = False

    def _characters(self, text: str) -> None:
        if self._inside:
            self.texts[-1] += text


def _from_json(path: Path) -> list[str]:
    whole = _parsed(_read(path, _JSON, "JSON file"), "This JSON file")
    if not isinstance(whole, dict):
        return []
    # recipe.json out of a zip is welcome too
    found = whole if "vitrine" in whole else whole.get("recipe")
    return [] if found is None else [json.dumps(found)]


def _from_zip(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - 42))
        end = file.read()
    if end[-22:-18] != b"PK\5\6":
        raise _damaged("This zip")
    crowded = UserError(f"This zip has more than {_ENTRIES} entries or very long names: drop one from a panel.")
    # zipfile reads the whole directory at once; for a zip64 its size stands elsewhere.
    if struct.unpack("<12xI6x", end[-22:])[0] > 1000 * _ENTRIES or end.startswith(b"PK\6\7"):
        raise crowded
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > _ENTRIES:
                raise crowded
            found = [entry for entry in archive.infolist() if entry.filename == "recipe.json"]
            # The other ways of packing may ask for gigabytes before the first byte.
            if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in found):
                raise _damaged("This zip")
            if len(found) != 1:
                return [b""] * len(found)
            with archive.open(found[0]) as member:
                return [member.read(LIMIT + 1)]
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError) as fault:
        raise _damaged("This zip") from fault


def _from_safetensors(path: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        if int.from_bytes(file.read(8), "little") > _HEADER:
            raise _damaged("This safetensors file")
    try:
        with safe_open(path, framework="np") as tensors:
            return [text for name, text in (tensors.metadata() or {}).items() if name == "vitrine"]
    except SafetensorError as fault:
        raise _damaged("This safetensors file") from fault


_READERS = {"PNG": _from_png, "SVG": _from_svg, "JSON file": _from_json, "zip": _from_zip}
_READERS["safetensors file"] = _from_safetensors


def _damaged(what: str) -> UserError:
    return UserError(f"{what} is damaged or incomplete: save it again from its panel, or copy it again.")


def _wrong(kind: str, field: str | int) -> UserError:
    return UserError(f"The recipe in this {kind} is incomplete or wrong at {field!r}: save it again from its panel.")


def _size(count: int) -> str:
    return f"{count // 2**20} MB"
