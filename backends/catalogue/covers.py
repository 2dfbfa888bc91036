"""A cover for each work, drawn by code: colours from its mood, pictures from its themes, lettering from its time.

    cover(works["film-stalker-1979"])              # an SVG document, the same every time

Nobody's artwork is imitated: a cover says what the catalogue says, in a house style. Titles are escaped, and nothing in
a cover is fetched from anywhere.
"""

from __future__ import annotations

import html
import zlib

import numpy as np

from backends.catalogue.motifs import BY_THEME, Sheet, couple, groove, rings, sound
from backends.catalogue.schema import MADE_BY, Work

WIDE, HIGH = 300, 420  # an album's is as high as it is wide
# page, main shape, deep shape, light shape; lettering is whichever of deep and light reads best
PALETTES: dict[str, tuple[str, str, str, str]] = {
    "warm": ("#f1dfc3", "#d2603a", "#5d2a1f", "#fff6e6"), "night": ("#171a26", "#a63d40", "#0b0d14", "#e6dfd0"),
    "cold": ("#cfd8dc", "#5d7486", "#22303b", "#f7f8f6"), "dream": ("#35245a", "#d97fa6", "#1b1230", "#f7e3c1"),
    "bright": ("#f4c63d", "#2a7f8e", "#3b2355", "#fffbe8"), "epic": ("#1f3f3a", "#c9963f", "#10211f", "#f1e6c8"),
    "calm": ("#dfe7dc", "#7fa08a", "#2f4a40", "#fbfaf3"), "heat": ("#b6312b", "#e9a23b", "#1d1413", "#f6ead4"),
    "cool": ("#12324a", "#3a97ad", "#081b2a", "#f3efe4"), "rose": ("#ecd3cb", "#b4546a", "#402833", "#fff7f0"),
    "wire": ("#16191c", "#dcb93f", "#0a0c0e", "#f3f2ea"), "earth": ("#d8c39c", "#7d5a3a", "#33261a", "#fbf3df"),
}  # fmt: skip
MOODS: dict[str, str] = {
    mood: palette for palette, moods in {
        "warm": "warm tender comforting cosy gentle joyful", "night": "dark menacing ominous brooding chilling eerie",
        "cold": "bleak austere lonely melancholic spare wistful", "dream": "dreamy hypnotic strange lush mysterious",
        "bright": "playful funny witty whimsical absurd euphoric energetic", "epic": "epic triumphant awed solemn",
        "calm": "calm serene meditative quiet reflective intimate", "heat": "angry defiant urgent feverish passionate",
        "cool": "cool stylish elegant ironic restless swaggering",
        "rose": "romantic poignant bittersweet sensual hopeful",
        "wire": "tense suspenseful thrilling unsettling brutal", "earth": "gritty raw nostalgic lyrical tragic",
    }.items() for mood in moods.split()
}  # fmt: skip
# by the last year of its style: family, weight, letter spacing, capitals
LETTERS = (
    (1899, "Georgia, 'Times New Roman', serif", 400, 0.5, False),
    (1945, "'Gill Sans', 'Century Gothic', 'Trebuchet MS', sans-serif", 600, 2.0, True),
    (1979, "'Helvetica Neue', Helvetica, Arial, sans-serif", 700, -0.5, False),
    (1999, "'Avant Garde', 'Century Gothic', Verdana, sans-serif", 700, 0.0, True),
    (9999, "'Helvetica Neue', Helvetica, Arial, sans-serif", 300, 1.0, False),
)


def cover(work: Work) -> str:
    """The cover as an SVG document of 300 x 420, an album's of 300 x 300."""
    rng = np.random.default_rng(zlib.crc32(work.key.encode()))
    high = WIDE if work.kind == "album" else HIGH
    page, main, deep, light = PALETTES[next((MOODS[mood] for mood in work.moods if mood in MOODS), "earth")]
    s = Sheet(WIDE, high, page, main, deep, light, rng)
    motif = next((BY_THEME[theme] for theme in work.themes if theme in BY_THEME), rings)
    if work.kind == "album" and motif in (rings, couple) and rng.random() < 0.5:
        motif = groove if rng.random() < 0.5 else sound
    motif(s)
    _letter(s, work)
    title = html.escape(f"Cover drawn for {work.title}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" role="img" aria-label="{title}">'
        f'<rect width="{WIDE}" height="{high}" fill="{page}"/>{"".join(s.parts)}</svg>'
    )


def _letter(s: Sheet, work: Work) -> None:
    """Title and maker on a band of their own, in the lettering of the work's time."""
    family, weight, spacing, capitals = next(style[1:] for style in LETTERS if work.year <= style[0])
    title = work.title.upper() if capitals else work.title
    size = 27.0 if s.h > s.w else 23.0
    while len(lines := _lines(title, (s.w - 44) / (size * (0.64 if capitals else 0.55)))) > 3 and size > 13:
        size -= 2
    maker = ", ".join(c.name for c in work.creators if c.role == MADE_BY[work.kind])
    maker = maker if len(maker) < 42 else f"{maker[:40].rsplit(' ', 1)[0].rstrip(',')} …"
    room = 22 + len(lines) * size * 1.16 + 20
    below = bool(s.rng.random() < 0.72) or s.h == s.w
    top = s.h - room if below else 0.0
    band, ink = (s.deep, s.light) if s.rng.random() < 0.6 else (s.light, s.deep)
    s.add("rect", x=0, y=top, width=s.w, height=room, fill=band)
    anchor, x = ("start", 22) if work.kind in ("book", "album") else ("middle", s.w / 2)
    font = f'font-family="{html.escape(family, quote=True)}" text-anchor="{anchor}" fill="{ink}"'
    for i, line in enumerate(lines):
        y = top + 16 + size * (0.85 + 1.16 * i)
        s.parts.append(
            f'<text x="{x:.0f}" y="{y:.1f}" {font} font-size="{size:.0f}" font-weight="{weight}" '
            f'letter-spacing="{spacing:g}">{html.escape(line)}</text>'
        )
    y = top + room - 13
    s.parts.append(
        f'<text x="{x:.0f}" y="{y:.1f}" {font} font-size="12">{html.escape(maker)} · {_year(work.year)}</text>'
    )
    if work.kind == "book":
        s.add("rect", x=0, y=0, width=9, height=s.h, fill=s.deep, opacity=0.35)


def _year(year: int) -> str:
    return str(year) if year > 0 else f"{-year} BCE"


def _lines(text: str, room: float) -> list[str]:
    """Words in lines of at most `room` letters; a longer word stands alone."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
