"""The README's pictures, taken from the running app: `python -m benchmarks.pictures`."""

from __future__ import annotations

import argparse
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from backends.runtime.files import ASSETS, whole_file
from benchmarks.page import wait_until_warm
from tests.conftest import FLAGS, find_chromium, served

FOLDER = ASSETS / "pictures"
COLOURS = 256  # a page of two greys, ink and the methods' colours needs no more, and the file is half as large


@dataclass(frozen=True)
class Picture:
    """A view of the app. ready: an element and the words that it must hold before the picture is taken."""

    name: str
    query: str
    ready: tuple[str, str]
    width: int = 1440
    height: int = 1180
    theme: str = "light"


PICTURES = [
    Picture("home", "", ("#home", "SoCo"), height=420),
    Picture("soco", "tab=soco&removed=60&a.removed=30&a.method=svd-llm", ("#tab-soco", "distinct-2")),
    Picture("soco-dark-phone", "tab=soco&removed=60&a.removed=30", ("#tab-soco", "B:"), 390, 844, "dark"),
]


def take(browser: Browser, url: str, picture: Picture) -> bytes:
    """A PNG in few colours."""
    page = browser.new_page(viewport={"width": picture.width, "height": picture.height})
    page.goto(f"{url}/?{picture.query}&__theme={picture.theme}")
    element, words = picture.ready
    page.locator(element, has_text=words).first.wait_for(timeout=120_000)
    page.wait_for_timeout(1500)  # figures have their fonts
    shot = Image.open(io.BytesIO(page.screenshot()))
    page.close()
    made = io.BytesIO()
    shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return made.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder of a machine cache that is filled already")
    kept = parser.parse_args().cache
    with tempfile.TemporaryDirectory() as cache, served(["app.py", "--offline"], Path(cache), kept=kept) as url:
        wait_until_warm(url)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=FLAGS)
            for picture in PICTURES:
                path = FOLDER / f"{picture.name}.png"
                with whole_file(path) as temporary:
                    temporary.write_bytes(take(browser, url, picture))
                print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
            browser.close()


if __name__ == "__main__":
    main()
