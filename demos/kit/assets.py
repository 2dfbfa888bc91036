"""Gradio's own scripts and styles, compressed once instead of at every request.

Gradio compresses each file anew for each visitor, on the thread that answers everybody: a page's first opening costs
the server a second of computing. The names hold a hash of the contents, so what is compressed stays right, and a
browser may keep it for good.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import brotli
import gradio as gr
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
FOR_GOOD = {"Cache-Control": "public, max-age=31536000, immutable"}
QUALITY = 5  # of 11: half a second for all of Gradio's scripts
COMPRESSED = (".js", ".css", ".svg")


class Assets(StaticFiles):
    """The files of one folder whose names change with their contents; text is kept in memory, compressed."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(directory=folder)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """As StaticFiles, from memory where the browser takes Brotli."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(FOR_GOOD)
        asked = Headers(scope=scope)
        if (
            not isinstance(response, FileResponse)  # "not modified"
            or not str(full_path).endswith(COMPRESSED)
            or "br" not in asked.get("accept-encoding", "")
            or "range" in asked
        ):
            return response
        content = compressed(Path(full_path))
        kept = {name: response.headers[name] for name in ("etag", "last-modified", "content-type", "cache-control")}
        return Response(content, headers={**kept, "Content-Encoding": "br", "Vary": "Accept-Encoding"})


@lru_cache(maxsize=4096)
def compressed(path: Path) -> bytes:
    """The file's contents, Brotli-compressed; kept for the life of the process."""
    return brotli.compress(path.read_bytes(), quality=QUALITY)


def compress_all(folder: Path = FOLDER) -> None:
    """Compress every script and style now, so that no visitor waits for it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in COMPRESSED:
            compressed(path)
