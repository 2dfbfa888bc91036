"""Every file that is handed out carries its recipe: enough to see the same result again.

It lies where each kind of file keeps words about itself: a text chunk of a PNG, the metadata of an SVG or of
safetensors, a field of a JSON object, recipe.json in a zip of tables. recipe_files.py reads it from there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from numbers import Number
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from backends.runtime.errors import UserError
from backends.runtime.recipe_pictures import PNG, SvgScan, recipe_chunks

FORMAT = 1
LIMIT = 8 * 2**20  # bytes of a recipe, and how much of one is ever unpacked
LONGEST_JSON = 16 * 2**20  # bytes of a JSON file
MOST_ENTRIES = 100  # of a zip
_PILLOWS = 2**20  # Pillow opens no PNG with a longer compressed text
_FIELDS, _DEEPEST = 1000, 100
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

    if not picture.startswith(PNG):
        raise UserError("The picture is no PNG: save the figure again.")
    if recipe_chunks(picture):
        raise _second("PNG")
    width, height = struct.unpack_from(">II", picture, len(PNG) + 8)
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
        raise UserError(f"The picture has {width} x {height} pixels, too many to keep: make it smaller.")
    text = _dumps(recipe).encode()
    packed = b"\1\0\0\0" + zlib.compress(text) if len(text) <= _PILLOWS else b"\0\0\0\0" + text
    chunk = b"iTXtvitrine\0" + packed
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    start = len(PNG) + 25  # IHDR comes first and has 25 bytes
    return picture[:start] + chunk + picture[start:]


def into_svg(picture: bytes, recipe: Recipe) -> bytes:
    """The SVG with the recipe as its first element; all else stays byte for byte. Raises UserError for what is no SVG.

    Takes UTF-8 without DOCTYPE. The recipe goes in as ASCII, with JSON's escapes: XML cannot write most controls.
    """
    scan = SvgScan(picture)
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
    if len(text) > LONGEST_JSON:
        raise UserError(f"The result has more than {megabytes(LONGEST_JSON)} as JSON: save it in another form.")
    return text


def into_zip(tables: Mapping[str, str], recipe: Recipe) -> bytes:
    """NAME.csv for each table, and recipe.json. The same content gives the same bytes."""
    if len(tables) >= MOST_ENTRIES or not all(re.fullmatch(r"\w[\w -]*", name) for name in tables):
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
        raise UserError(f"The recipe of this result has more than {megabytes(LIMIT)}: take a shorter input.")
    return text


def _second(kind: str) -> UserError:
    return UserError(f"This {kind} carries a recipe already: save the result again from its panel.")


def megabytes(count: int) -> str:
    """A limit in words."""
    return f"{count // 2**20} MB"
