"""What stands on covers: one small drawing for each family of themes, in the colours that a cover gives it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Sheet:
    """What is drawn so far. w, h: of the picture; rng: of this work alone."""

    w: float
    h: float
    page: str
    main: str
    deep: str
    light: str
    rng: np.random.Generator
    parts: list[str] = field(default_factory=list)

    def add(self, tag: str, **values: object) -> None:
        """One SVG element; numbers are rounded, names take hyphens for underscores."""
        named = " ".join(
            f'{name.rstrip("_").replace("_", "-")}="{round(v, 1) if isinstance(v, float) else v}"'
            for name, v in values.items()
        )
        self.parts.append(f"<{tag} {named}/>")

    def disc(self, x: float, y: float, r: float, fill: str, **more: object) -> None:
        """A circle."""
        self.add("circle", cx=float(x), cy=float(y), r=float(r), fill=fill, **more)

    def shape(self, points: list[tuple[float, float]], fill: str, **more: object) -> None:
        """A polygon."""
        self.add("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), fill=fill, **more)

    def line(self, points: list[tuple[float, float]], stroke: str, width: float, **more: object) -> None:
        """A line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.add("polyline", points=path, fill="none", stroke=stroke, stroke_width=float(width), **more)

    def between(self, low: float, high: float) -> float:
        """By chance."""
        return float(self.rng.uniform(low, high))


def waves(s: Sheet) -> None:
    """Sea."""
    top = s.between(0.5, 0.62) * s.h
    for row in range(7):
        y, swing = top + row * s.h * 0.075, s.between(6, 12)
        phase = s.between(0, math.tau)
        curve = [(x, y + swing * math.sin(x / s.w * math.tau * 1.5 + phase)) for x in np.linspace(0, s.w, 40)]
        s.shape([*curve, (s.w, s.h), (0, s.h)], s.main if row % 2 else s.deep, opacity=0.35 + 0.08 * row)


def peaks(s: Sheet) -> None:
    """Mountains."""
    for row, fill in enumerate((s.light, s.main, s.deep)):
        base = s.h * (0.62 + 0.14 * row)
        xs = np.linspace(-20, s.w + 20, 7)
        ridge = [
            (x, base - (s.between(60, 150) if i % 2 else s.between(0, 30)) * (1 - 0.2 * row)) for i, x in enumerate(xs)
        ]
        s.shape([*ridge, (s.w + 20, s.h), (-20, s.h)], fill, opacity=0.75)


def stars(s: Sheet) -> None:
    """Space, night."""
    for _ in range(70):
        s.disc(
            s.between(0, s.w),
            s.between(0, s.h * 0.9),
            s.between(0.5, 1.9),
            s.light,
            opacity=round(s.between(0.4, 1), 2),
        )
    x, y, r = s.between(0.3, 0.7) * s.w, s.between(0.34, 0.5) * s.h, s.between(48, 84)
    s.disc(x, y, r, s.main)
    s.disc(x + r * 0.32, y - r * 0.12, r * 0.94, s.deep, opacity=0.45)
    s.add("ellipse", cx=x, cy=y, rx=r * 1.7, ry=r * 0.34, fill="none", stroke=s.light, stroke_width=2.5,
          transform=f"rotate({s.between(-30, 30):.0f} {x:.0f} {y:.0f})")  # fmt: skip


def trunks(s: Sheet) -> None:
    """Forest."""
    for depth, fill in enumerate((s.light, s.main, s.deep)):
        for _ in range(9 - 2 * depth):
            x, width = s.between(-10, s.w), s.between(5, 10) * (1 + depth)
            s.add("rect", x=x, y=0, width=width, height=s.h, fill=fill, opacity=0.3 + 0.3 * depth)


def blocks(s: Sheet) -> None:
    """City."""
    x = -5.0
    while x < s.w:
        width, height = s.between(24, 52), s.between(0.25, 0.66) * s.h
        s.add("rect", x=x, y=s.h - height, width=width, height=height, fill=s.deep if s.rng.random() < 0.6 else s.main)
        for wx in np.arange(x + 6, x + width - 6, 9):
            for wy in np.arange(s.h - height + 9, s.h - 8, 13):
                if s.rng.random() < 0.4:
                    s.add("rect", x=float(wx), y=float(wy), width=4.5, height=6.5, fill=s.light, opacity=0.85)
        x += width + s.between(0, 5)


def dunes(s: Sheet) -> None:
    """Desert."""
    s.disc(s.between(0.25, 0.75) * s.w, 0.33 * s.h, s.between(36, 60), s.light)
    for row, fill in enumerate((s.main, s.deep, s.main, s.deep)):
        y = s.h * (0.5 + 0.13 * row)
        lift, turn = s.between(20, 52), s.between(0, math.tau)
        curve = [(x, y + lift * math.sin(x / s.w * 2.4 + turn)) for x in np.linspace(0, s.w, 30)]
        s.shape([*curve, (s.w, s.h), (0, s.h)], fill, opacity=0.7)


def rings(s: Sheet) -> None:
    """Time, memory, dreams: circles within circles."""
    x, y = s.between(0.35, 0.65) * s.w, s.between(0.36, 0.5) * s.h
    for i, r in enumerate(np.linspace(0.52 * s.w, 10, 9)):
        s.disc(x + s.between(-4, 4), y + s.between(-4, 4), r, (s.main, s.page, s.deep, s.light)[i % 4], opacity=0.9)


def rails(s: Sheet) -> None:
    """Journeys: a way that vanishes in a point."""
    x, y = s.between(0.35, 0.65) * s.w, 0.36 * s.h
    s.shape([(x - 3, y), (x + 3, y), (s.w * 0.92, s.h), (s.w * 0.08, s.h)], s.deep)
    for i in range(1, 15):
        t = (i / 15) ** 2.2
        half = 3 + t * (0.46 * s.w)
        s.line([(x - half, y + t * (s.h - y)), (x + half, y + t * (s.h - y))], s.light, 1 + 5 * t)
    s.disc(x, y - 26, 22, s.main)


def couple(s: Sheet) -> None:
    """Love, friendship, siblings: two that meet."""
    y, r, apart = s.between(0.38, 0.5) * s.h, s.between(62, 84), s.between(34, 58)
    s.disc(s.w / 2 - apart, y, r, s.main, opacity=0.92)
    s.disc(s.w / 2 + apart, y, r, s.deep, opacity=0.72)
    s.disc(s.w / 2, y + s.between(-14, 14), r * 0.22, s.light)


def slashes(s: Sheet) -> None:
    """War, violence, revolution."""
    tilt = s.between(0.35, 0.75) * (1 if s.rng.random() < 0.5 else -1)
    for _ in range(11):
        x, y, long, thick = s.between(-40, s.w), s.between(0.05, 0.85) * s.h, s.between(120, 330), s.between(5, 24)
        fill = (s.main, s.deep, s.light)[int(s.rng.integers(3))]
        s.shape(
            [(x, y), (x + long, y + tilt * long), (x + long, y + tilt * long + thick), (x, y + thick)],
            fill,
            opacity=0.85,
        )


def bars(s: Sheet) -> None:
    """Prison, school, bureaucracy."""
    s.disc(s.w / 2, 0.45 * s.h, 70, s.main)
    for x in np.linspace(18, s.w - 18, 9):
        s.add("rect", x=float(x) - 5, y=0.12 * s.h, width=10, height=0.72 * s.h, fill=s.deep)
    for y in (0.14, 0.8):
        s.add("rect", x=0, y=y * s.h, width=s.w, height=9, fill=s.deep)


def house(s: Sheet) -> None:
    """Home, family, small town."""
    wide = s.between(112, 150)
    x, y, high = s.w / 2 - wide / 2, 0.48 * s.h, s.between(96, 128)
    s.add("rect", x=0, y=y + high, width=s.w, height=s.h, fill=s.main, opacity=0.55)
    s.add("rect", x=x, y=y, width=wide, height=high, fill=s.deep)
    s.shape([(x - 16, y), (s.w / 2, y - s.between(58, 92)), (x + wide + 16, y)], s.main)
    lit = int(s.rng.integers(4))
    for i in range(4):
        s.add("rect", x=x + 16 + (i % 2) * (wide - 56), y=y + 16 + (i // 2) * 42, width=24, height=26,
              fill=s.light if i == lit else s.page, opacity=1 if i == lit else 0.35)  # fmt: skip


def maze(s: Sheet) -> None:
    """Puzzles, detection, secrets: a way through walls."""
    size, top = 22, 0.14 * s.h
    for row in range(int(0.68 * s.h / size)):
        for column in range(int(s.w / size) + 1):
            x, y = column * size, top + row * size
            up = s.rng.random() < 0.5
            wall = [(x, y), (x + size, y + size)] if up else [(x + size, y), (x, y + size)]
            s.line(wall, s.main if up else s.deep, 4, stroke_linecap="round")


def flakes(s: Sheet) -> None:
    """Winter, weather."""
    for _ in range(46):
        x, y, r = s.between(0, s.w), s.between(0, s.h), s.between(2, 9)
        for arm in range(3):
            a = arm * math.pi / 3
            s.line(
                [(x - r * math.cos(a), y - r * math.sin(a)), (x + r * math.cos(a), y + r * math.sin(a))], s.light, 1.4
            )
    s.shape([(0, 0.74 * s.h), (s.w, s.between(0.64, 0.8) * s.h), (s.w, s.h), (0, s.h)], s.light, opacity=0.85)
    s.disc(s.between(0.3, 0.7) * s.w, 0.42 * s.h, s.between(18, 34), s.main)


def gears(s: Sheet) -> None:
    """Machines, work, technology."""
    for fill in (s.deep, s.main, s.light):
        x, y, r, teeth = (
            s.between(0.2, 0.8) * s.w,
            s.between(0.24, 0.66) * s.h,
            s.between(34, 82),
            int(s.rng.integers(8, 15)),
        )
        points = []
        for i in range(4 * teeth):
            reach = r if i % 4 in (0, 1) else r * 0.82
            points.append(
                (x + reach * math.cos(math.tau * i / (4 * teeth)), y + reach * math.sin(math.tau * i / (4 * teeth)))
            )
        s.shape(points, fill, opacity=0.9)
        s.disc(x, y, r * 0.3, s.page)


def birds(s: Sheet) -> None:
    """Freedom, flight, hope."""
    s.disc(s.between(0.3, 0.7) * s.w, s.between(0.4, 0.56) * s.h, s.between(54, 88), s.main)
    for _ in range(13):
        x, y, r = s.between(15, s.w - 15), s.between(0.1, 0.7) * s.h, s.between(6, 20)
        wings = [(-1, -0.5), (-0.4, -0.62), (0, 0), (0.4, -0.62), (1, -0.5)]
        s.line([(x + r * dx, y + r * dy) for dx, dy in wings], s.deep, 2.4, stroke_linejoin="round",
               stroke_linecap="round")  # fmt: skip


def eye(s: Sheet) -> None:
    """Surveillance, fear, madness, obsession."""
    x, y, r = s.w / 2, s.between(0.38, 0.5) * s.h, s.between(92, 124)
    curve = [
        (x + r * math.cos(a), y + 0.52 * r * math.sin(a) * abs(math.sin(a)) ** 0.3)
        for a in np.linspace(0, math.tau, 60)
    ]
    s.shape(curve, s.light)
    s.disc(x, y, r * 0.4, s.main)
    s.disc(x + s.between(-9, 9), y, r * 0.19, s.deep)
    for a in np.linspace(math.pi * 1.12, math.pi * 1.88, 9):
        lash = [(x + r * wide * math.cos(a), y + r * high * math.sin(a)) for wide, high in ((0.9, 0.62), (1.2, 0.86))]
        s.line(lash, s.deep, 3)


def flame(s: Sheet) -> None:
    """Passion, faith, rebellion: tongues of fire."""
    x, base = s.between(0.4, 0.6) * s.w, 0.78 * s.h
    for scale, fill in ((1.0, s.deep), (0.72, s.main), (0.42, s.light)):
        high, wide = 250 * scale, 105 * scale
        left, right, tip = x - wide, x + wide, x + s.between(-26, 26)
        up = f"M{left:.0f} {base:.0f} Q{x - wide * 0.9:.0f} {base - high * 0.5:.0f} {tip:.0f} {base - high:.0f}"
        down = f"Q{x + wide * 1.1:.0f} {base - high * 0.45:.0f} {right:.0f} {base:.0f}"
        s.add("path", d=f"{up} {down} Q{x:.0f} {base + 34 * scale:.0f} {left:.0f} {base:.0f}Z", fill=fill)


def groove(s: Sheet) -> None:
    """Music, dance: a record, or what a needle hears."""
    x, y = s.between(0.3, 0.7) * s.w, s.between(0.36, 0.52) * s.h
    s.disc(x, y, 0.44 * s.w, s.deep)
    for r in np.arange(0.14 * s.w, 0.43 * s.w, 5):
        broken = f"{s.between(40, 300):.0f} {s.between(4, 40):.0f}"
        s.disc(x, y, float(r), "none", stroke=s.light, stroke_width=0.7, opacity=0.5, stroke_dasharray=broken)
    s.disc(x, y, 0.12 * s.w, s.main)
    s.disc(x, y, 4, s.page)


def sound(s: Sheet) -> None:
    """Sound as bars."""
    count = 25
    for i in range(count):
        x, high = s.w * (i + 0.5) / count, abs(math.sin(i * s.between(0.25, 0.32))) * s.between(0.1, 0.56) * s.h + 8
        s.add("rect", x=x - 4, y=0.46 * s.h - high / 2, width=8, height=high, rx=4, fill=s.main if i % 3 else s.deep)


def crown(s: Sheet) -> None:
    """Power, empire, kings."""
    x, y, wide, high = s.w / 2, 0.5 * s.h, s.between(86, 108), s.between(70, 104)
    points = [(x - wide, y)]
    for i in range(5):
        px = x - wide + 2 * wide * (i + 0.5) / 5
        points += [(px, y - high * (1 if i % 2 == 0 else 1.25)), (x - wide + 2 * wide * (i + 1) / 5, y - high * 0.35)]
    s.shape([*points[:-1], (x + wide, y)], s.main)
    s.add("rect", x=x - wide, y=y + 5, width=2 * wide, height=18, fill=s.deep)
    for i in range(5):
        s.disc(x - wide + 2 * wide * (i + 0.5) / 5, y - high * (1.1 if i % 2 == 0 else 1.36), 6, s.light)


def mask(s: Sheet) -> None:
    """Identity, deception, theatre."""
    y, r = s.between(0.4, 0.48) * s.h, s.between(74, 96)
    for side, fill in ((-1, s.light), (1, s.deep)):
        s.add("path", d=f"M{s.w / 2:.0f} {y - r:.0f} A{r:.0f} {r * 1.15:.0f} 0 0 {1 if side > 0 else 0} {s.w / 2:.0f} "
              f"{y + r * 1.3:.0f} Z", fill=fill)  # fmt: skip
        s.add("ellipse", cx=s.w / 2 + side * r * 0.4, cy=y - 4, rx=r * 0.2, ry=r * 0.11, fill=s.main)
    s.line(
        [
            (s.w / 2 - r * 0.34, y + r * 0.62),
            (s.w / 2, y + r * s.between(0.5, 0.8)),
            (s.w / 2 + r * 0.34, y + r * 0.62),
        ],
        s.main,
        5,
    )


def tower(s: Sheet) -> None:
    """Magic, quests, knights: a tower under a moon."""
    x, wide = s.between(0.35, 0.65) * s.w, s.between(46, 68)
    s.disc(x + s.between(-90, 90), 0.26 * s.h, s.between(26, 44), s.light)
    top = s.between(0.3, 0.4) * s.h
    s.shape([(x - wide / 2, top), (x + wide / 2, top), (x + wide * 0.7, s.h), (x - wide * 0.7, s.h)], s.deep)
    for i in range(4):
        s.add("rect", x=x - wide / 2 + i * wide / 3.6, y=top - 14, width=wide / 7, height=15, fill=s.deep)
    s.add("rect", x=x - 6, y=top + 36, width=12, height=22, rx=6, fill=s.main)
    s.add(
        "path",
        d=f"M0 {0.86 * s.h:.0f} Q{s.w * 0.3:.0f} {0.7 * s.h:.0f} {s.w:.0f} {0.82 * s.h:.0f} V{s.h:.0f} H0Z",
        fill=s.main,
    )


def cells(s: Sheet) -> None:
    """Science, body, medicine: cells under glass."""
    for _ in range(26):
        x, y, r = s.between(0, s.w), s.between(0.08, 0.8) * s.h, s.between(12, 42)
        s.disc(x, y, r, s.main, opacity=0.35)
        s.disc(x, y, r * 0.4, s.deep, opacity=0.75)


def ledger(s: Sheet) -> None:
    """Writing, letters, history: lines of a hand."""
    for row in range(15):
        y, x = 0.14 * s.h + row * 0.046 * s.h, 34.0
        points = [(x, y)]
        while x < s.w - s.between(34, 90):
            x += s.between(3, 8)
            points.append((x, y + s.between(-5, 5)))
        s.line(points, s.deep if row % 4 else s.main, 1.8, stroke_linejoin="round")


def crowd(s: Sheet) -> None:
    """Community, class, protest: many heads, one of another colour."""
    other = int(s.rng.integers(20, 44))
    for i in range(48):
        row, column = divmod(i, 8)
        x, y = (column + 0.5 + 0.25 * (row % 2)) * s.w / 8.3, (0.32 + 0.09 * row) * s.h
        fill = s.main if i == other else s.deep
        s.disc(x, y, 11, fill)
        left = f"M{x - 17:.0f} {y + 36:.0f} Q{x - 16:.0f} {y + 12:.0f} {x:.0f} {y + 12:.0f}"
        right = f"Q{x + 16:.0f} {y + 12:.0f} {x + 17:.0f} {y + 36:.0f}Z"
        s.add("path", d=f"{left} {right}", fill=fill, stroke=s.page, stroke_width=1.5)


def alone(s: Sheet) -> None:
    """Loneliness, exile, loss: one small figure before something large."""
    s.disc(s.w / 2 + s.between(-30, 30), 0.4 * s.h, s.between(92, 126), s.main)
    s.add("rect", x=0, y=0.72 * s.h, width=s.w, height=0.3 * s.h, fill=s.deep)
    x = s.between(0.25, 0.75) * s.w
    s.add("rect", x=x - 3.5, y=0.66 * s.h, width=7, height=0.07 * s.h, rx=3, fill=s.light)
    s.disc(x, 0.645 * s.h, 5, s.light)


def mirror(s: Sheet) -> None:
    """Doubles, virtual worlds, transformation: one half is the other's."""
    for _ in range(9):
        x, y, r = s.between(0, s.w / 2), s.between(0.1, 0.75) * s.h, s.between(10, 52)
        fill = (s.main, s.deep, s.light)[int(s.rng.integers(3))]
        s.shape([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], fill, opacity=0.8)
        s.shape([(s.w - x, y - r), (s.w - x + r, y), (s.w - x, y + r), (s.w - x - r, y)], fill, opacity=0.8)


def cards(s: Sheet) -> None:
    """Heists, money, rivalry, games of all kinds: leaning sheets."""
    for i in range(6):
        angle, x, y = s.between(-38, 38), s.between(0.3, 0.7) * s.w, s.between(0.34, 0.58) * s.h
        fill = (s.light, s.main, s.deep)[i % 3]
        s.add("rect", x=x - 42, y=y - 60, width=84, height=120, rx=8, fill=fill, stroke=s.page, stroke_width=2,
              transform=f"rotate({angle:.0f} {x:.0f} {y:.0f})")  # fmt: skip


def leaves(s: Sheet) -> None:
    """Nature, growing up, everyday life: a branch."""
    x, y, angle = s.between(0.3, 0.5) * s.w, 0.82 * s.h, -math.pi / 2
    for i in range(13):
        nx, ny = x + 24 * math.cos(angle), y + 24 * math.sin(angle)
        s.line([(x, y), (nx, ny)], s.deep, 4 - 0.2 * i, stroke_linecap="round")
        side = 1 if i % 2 else -1
        a = math.degrees(angle) + side * s.between(40, 66)
        long = s.between(22, 36)
        cx, cy = nx + long * math.cos(math.radians(a)), ny + long * math.sin(math.radians(a))
        s.add("ellipse", cx=cx, cy=cy, rx=long, ry=long * 0.36, fill=s.main if side > 0 else s.deep,
              transform=f"rotate({a:.0f} {cx:.0f} {cy:.0f})")  # fmt: skip
        x, y, angle = nx, ny, angle + s.between(-0.22, 0.26)


Motif = Callable[[Sheet], None]
MOTIFS: dict[Motif, str] = {
    waves: "sea, islands, pirates, exploration",
    peaks: "mountains, courage, exile, spirituality, legend",
    stars: "space, aliens, astronomy, night, moon, immortality",
    trunks: "forest, folklore, fear, hunting, myth, monsters",
    blocks: "city life, crime, gangs, corruption, privilege, ambition, underworld",
    dunes: "desert, migration, colonialism",
    rings: "time, time travel, memory, dreams, nostalgia, fate, mystery of the past, language",
    rails: "journey, railways, self-discovery, quest, espionage",
    couple: "love, desire, marriage, heartbreak, friendship, siblings, jealousy",
    slashes: "war, violence, revenge, revolution, samurai, terrorism, trauma, resistance",
    bars: "prison, slavery, injustice, law, bureaucracy, labour, education, school",
    house: "home, family, small town, motherhood, fatherhood, parenthood, childhood, generations",
    maze: "puzzles, detection, secrets, truth, conscience, guilt",
    flakes: "winter, weather, survival, disaster",
    gears: "machines, work, technology, robots, artificial intelligence, mathematics, architecture",
    birds: "freedom, flight, birds, hope, peace, youth, spring",
    eye: "surveillance, madness, obsession, evil, media, dystopia, fame",
    flame: "faith, religion, sacrifice, rebellion, witches, ritual, apocalypse, dragons, protest",
    groove: "music, performance",
    sound: "dance, pleasure, sexuality, queer lives",
    crown: "power, empire, kings and courts, politics, leadership, wealth, honour, gods",
    mask: "identity, deception, theatre, tricksters, imagination, gender, betrayal, superheroes, cinema",
    tower: "magic, knights, treasure, vampires, occult, heroism, dragons, afterlife",
    cells: "science, body, medicine, illness, drugs, addiction, food, ecology",
    ledger: "writing, history, art and artists, utopia, cultural clash",
    crowd: "community, class, crowds, poverty, prejudice, race and racism, feminism, loyalty",
    alone: "loneliness, solitude, outsiders, loss, grief, death, ghosts, old age, outlaws",
    mirror: "doubles, virtual worlds, transformation, free will, disability",
    cards: "heist, money, rivalry, greed, sport",
    leaves: "nature, growing up, everyday life, rural life, animals, innocence, redemption",
}
BY_THEME: dict[str, Motif] = {theme: motif for motif, themes in MOTIFS.items() for theme in themes.split(", ")}
