"""Small pictures in a page."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from PIL import Image


def picture_html(image: Any, said: str) -> str:
    """An array (side, side, 3) uint8 as an <img> with its own data; `said` is read out."""
    body = io.BytesIO()
    Image.fromarray(image).save(body, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(body.getvalue()).decode()}"
    return f'<img class="v-picture" src="{url}" alt="{html.escape(said, quote=True)}">'
