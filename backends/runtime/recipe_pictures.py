"""What a PNG and an SVG say about themselves, found without decoding a pixel or expanding an entity."""

from __future__ import annotations

import struct
import zlib
from xml.parsers import expat

from backends.runtime.errors import UserError

PNG = b"\x89PNG\r\n\x1a\n"
_SVG = "http://www.w3.org/2000/svg"
_PIECE = 4 * 2**20  # bytes that are parsed at once
_DEEPEST, _CHUNKS, _ELEMENTS = 100, 100_000, 1_000_000


def recipe_chunks(data: bytes) -> list[bytes]:
    """The chunks with a recipe in a PNG that is whole. Looks at checksums, never at pixels."""
    found, at, view = [], len(PNG), memoryview(data)
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
    raise damaged("This PNG")


class SvgScan:
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
            raise damaged("This SVG") from fault

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


def damaged(what: str) -> UserError:
    """The sentence for a file that cannot be read to its end."""
    return UserError(f"{what} is damaged or incomplete: save it again from its panel, or copy it again.")
