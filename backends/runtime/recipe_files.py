"""Reading the recipe out of a file of any kind.

`read_recipe` takes files from strangers: it unpacks and expands nothing but the recipe, decodes no pixels, and whatever
it refuses is a UserError.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backends.runtime.errors import UserError
from backends.runtime.recipe_pictures import PNG, SvgScan, damaged, recipe_chunks
from backends.runtime.recipes import FORMAT, LIMIT, LONGEST_JSON, MOST_ENTRIES, Recipe, megabytes

_PICTURE, _HEADER = 64 * 2**20, 32 * 2**20  # bytes of a picture, and of what stands before tensors


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
        raise UserError(
            f"The recipe in this {kind} has more than {megabytes(LIMIT)}: save a result with shorter inputs."
        )
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
    if start.startswith(PNG):
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
        raise damaged(what) from fault


def _read(path: Path, most: int, kind: str) -> bytes:
    if path.stat().st_size > most:
        raise UserError(f"This {kind} has more than {megabytes(most)}: drop a smaller one.")
    return path.read_bytes()


def _from_png(path: Path) -> list[bytes]:
    chunks = recipe_chunks(_read(path, _PICTURE, "PNG"))
    if len(chunks) != 1:
        return chunks
    try:
        _, _, text = chunks[0][10:].split(b"\0", 2)
        if chunks[0][8] == 0:
            return [text]
        return [zlib.decompressobj().decompress(text, LIMIT + 1)]
    except (ValueError, IndexError, zlib.error) as fault:
        raise damaged("This PNG") from fault


def _from_svg(path: Path) -> list[str]:
    return SvgScan(_read(path, _PICTURE, "SVG")).texts


def _from_json(path: Path) -> list[str]:
    whole = _parsed(_read(path, LONGEST_JSON, "JSON file"), "This JSON file")
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
        raise damaged("This zip")
    crowded = UserError(f"This zip has more than {MOST_ENTRIES} entries or very long names: drop one from a panel.")
    # zipfile reads the whole directory at once; for a zip64 its size stands elsewhere.
    if struct.unpack("<12xI6x", end[-22:])[0] > 1000 * MOST_ENTRIES or end.startswith(b"PK\6\7"):
        raise crowded
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MOST_ENTRIES:
                raise crowded
            found = [entry for entry in archive.infolist() if entry.filename == "recipe.json"]
            # The other ways of packing may ask for gigabytes before the first byte.
            if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in found):
                raise damaged("This zip")
            if len(found) != 1:
                return [b""] * len(found)
            with archive.open(found[0]) as member:
                return [member.read(LIMIT + 1)]
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError) as fault:
        raise damaged("This zip") from fault


def _from_safetensors(path: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        if int.from_bytes(file.read(8), "little") > _HEADER:
            raise damaged("This safetensors file")
    try:
        with safe_open(path, framework="np") as tensors:
            return [text for name, text in (tensors.metadata() or {}).items() if name == "vitrine"]
    except SafetensorError as fault:
        raise damaged("This safetensors file") from fault


_READERS = {"PNG": _from_png, "SVG": _from_svg, "JSON file": _from_json, "zip": _from_zip}
_READERS["safetensors file"] = _from_safetensors


def _wrong(kind: str, field: str | int) -> UserError:
    return UserError(f"The recipe in this {kind} is incomplete or wrong at {field!r}: save it again from its panel.")
