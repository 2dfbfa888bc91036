"""What every panel has, for every panel that the app lists: a new one is covered by its being added.

The stand-in `spring` shows that the frame alone is enough for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from backends.runtime.recipe_files import read_recipe
from demos import load_panels
from tests.conftest import PATIENCE, ROOT, serious, settled, watched

DRAWN = 60_000 * PATIENCE
NAMES = """key => {
  const graph = document.querySelector(`#${key}-figure .js-plotly-plot`);
  const words = [...graph.querySelectorAll('.annotation-text')].map(one => one.textContent);
  return [...new Set([...graph.data.map(trace => trace.name), ...words])].filter(name => name && name !== 'now');
}"""
WORDLESS = """key => [...document.querySelectorAll(`#tab-${key} .js-plotly-plot`)]
  .filter(graph => graph.offsetParent)
  .filter(graph => (graph.closest('.block').nextElementSibling?.innerText ?? '').trim().length < 20)
  .map(graph => graph.closest('.block').id)"""
SIDEWAYS = """key => [...document.querySelectorAll(`#tab-${key} :is(.v-card, .v-row, button, input, img, pre, table)`)]
  .filter(one => one.offsetParent && one.getBoundingClientRect().right > window.innerWidth + 1)
  .filter(one => !one.closest('pre, .js-plotly-plot, .v-scrolls'))
  .map(one => one.outerHTML.slice(0, 120))"""


@dataclass(frozen=True)
class Place:
    """A panel, a server that has it, and another one that was never asked for it."""

    key: str
    url: str
    request: pytest.FixtureRequest

    @property
    def fresh(self) -> str:
        return self.request.getfixturevalue("fresh_shell_server" if self.key == "spring" else "fresh_app_server")


@pytest.fixture(scope="module", params=[*(panel.key for panel in load_panels()), "spring"])
def place(request: pytest.FixtureRequest) -> Place:
    server = "shell_server" if request.param == "spring" else "app_server"
    return Place(request.param, request.getfixturevalue(server), request)


@pytest.fixture(scope="module")
def opened(browser: Browser, place: Place) -> Iterator[tuple[Page, list[str]]]:
    """The panel in a page that all its tests share, and what went wrong in it so far."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light", accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    faults = watched(context)
    yield go(context.new_page(), place), faults
    context.close()


@pytest.fixture
def page(opened: tuple[Page, list[str]], place: Place) -> Iterator[Page]:
    """The shared page with nothing pinned."""
    page, faults = opened
    if page.locator(f"#{place.key}-release").is_visible():
        page.click(f"#{place.key}-release")
        until(page, place, "!text.startsWith('B:')")
    yield page
    found = faults[:]
    faults.clear()
    assert not found, "\n".join(found)


def go(page: Page, place: Place, query: str = "", url: str | None = None) -> Page:
    """Open the panel and wait for its first answer."""
    page.goto(f"{url or place.url}/?tab={place.key}{query}")
    answered(page, place)
    return page


def answered(page: Page, place: Place) -> str:
    """The sentence under the figure, once it is a measured one."""
    page.wait_for_function(
        "key => document.querySelector(`#${key}-figure .js-plotly-plot`)?.data?.length > 0"
        " && document.querySelector(`#${key}-formula .katex`)",
        arg=place.key, timeout=DRAWN,
    )  # fmt: skip
    return said(page, place)


def said(page: Page, place: Place, part: str = "caption") -> str:
    return page.locator(f"#{place.key}-{part}").inner_text().strip()


def until(page: Page, place: Place, condition: str, part: str = "caption") -> str:
    """Wait for a condition on `text`, what a part of the panel says."""
    page.wait_for_function(
        f"id => {{ const text = document.getElementById(id)?.innerText.trim() ?? ''; return {condition}; }}",
        arg=f"{place.key}-{part}", timeout=DRAWN,
    )  # fmt: skip
    return said(page, place, part)


def moved(page: Page, place: Place, key: str = "ArrowRight") -> str:
    """One step of the first slider; the new sentence."""
    before = said(page, place)
    page.locator(f"#tab-{place.key} .v-controls input[type=range]").first.focus()
    page.keyboard.press(key)
    return until(page, place, f"text && text !== {json.dumps(before)}")


def unfold(page: Page, place: Place, row: str) -> None:
    door = page.locator(f"#{place.key}-{row} button.label-wrap")
    if "open" not in (door.get_attribute("class") or "").split():
        door.click()
    inside(page, place, row)


def inside(page: Page, place: Place, row: str) -> None:
    """Wait until a row that is being opened can be used."""
    expect(page.locator(f"#{place.key}-{row} button.label-wrap")).to_have_class(re.compile("open"))
    settled(page, f"#{place.key}-{row} .block:not(.v-row-promise) >> visible=true")


# 1, 3, 11: at once, beside a baseline and a bound, in words, with units


def test_it_answers_before_anything_is_pressed(page: Page, place: Place) -> None:
    assert re.search(r"\d", said(page, place)) and said(page, place, "protocol")
    names = page.evaluate(NAMES, place.key)
    assert len(names) >= 3, names
    titles = page.locator(f"#{place.key}-figure :is(.xtitle, .ytitle)").all_text_contents()
    assert len(titles) >= 2 and all(titles)


def test_words_stand_under_every_figure(page: Page, place: Place) -> None:
    page.wait_for_function(f"key => ({WORDLESS})(key).length === 0", arg=place.key, timeout=DRAWN)


# 2: the formula moves


def test_the_formula_has_the_present_numbers(page: Page, place: Place) -> None:
    before = until(page, place, r"/\d/.test(text)", "formula")
    moved(page, place)
    until(page, place, f"text !== {json.dumps(before)}", "formula")


# 4: pin A, move B


def test_a_pinned_view_is_compared(page: Page, place: Place) -> None:
    page.click(f"#{place.key}-pin")
    until(page, place, "text.startsWith('B:') && text.includes('the same view')")
    both = moved(page, place)
    assert both.startswith("B:") and " A: " in both and "same view" not in both
    assert "A" in page.evaluate(NAMES, place.key)
    page.click(f"#{place.key}-release")
    until(page, place, "!text.includes('A:') && !text.startsWith('B:')")
    expect(page.locator(f"#{place.key}-release")).to_be_hidden()


def test_what_is_moved_while_an_answer_is_on_its_way_stays(page: Page, place: Place) -> None:
    page.click(f"#{place.key}-pin")
    until(page, place, "text.includes('the same view')")
    slider = page.locator(f"#tab-{place.key} .v-controls input[type=range]").first
    before = slider.input_value()
    slider.focus()
    page.evaluate("key => document.getElementById(`${key}-release`).click()", place.key)
    page.keyboard.press("ArrowLeft")  # both events are on their way now
    after = slider.input_value()
    assert after != before
    there = f"!text.startsWith('B:') && (text.match(/[0-9]+([.][0-9]+)?/g) ?? []).some(one => Number(one) === {after})"
    until(page, place, there)
    page.wait_for_timeout(2000)
    until(page, place, there)
    assert slider.input_value() == after


# 5: every view is an address


def test_a_link_gives_the_same_view_in_a_fresh_server(page: Page, place: Place) -> None:
    page.click(f"#{place.key}-pin")
    until(page, place, "text.includes('same view')")
    here = moved(page, place)
    page.click(f"#{place.key}-link")
    expect(page.locator(".toast-body")).to_contain_text("clipboard")
    address = page.evaluate("navigator.clipboard.readText()")
    assert "a." in address and len(address) <= 2048
    query = address.partition(f"tab={place.key}")[2]
    other = page.context.browser.new_context()
    faults = watched(other)
    there = go(other.new_page(), place, query, place.fresh)
    until(there, place, "text.startsWith('B:')")
    until(there, place, f"text === {json.dumps(here)}")
    other.close()
    assert not faults


def test_what_a_link_gets_wrong_is_named_and_ignored(page: Page, place: Place) -> None:
    name = page.locator(f"#tab-{place.key} .v-controls .block:has(input[type=range])").first.get_attribute("id")
    name = name.removeprefix(f"{place.key}-")
    other = page.context.new_page()
    go(other, place, f"&{name}=NaN&a.{name}=<script>&junk=%00&tab2=1")
    expect(other.locator(".toast-body").first).to_contain_text("was ignored")
    until(other, place, "text.startsWith('B:') && text.includes('the same view')")
    other.close()


# 6: every file brings the view back


def test_every_download_brings_the_view_back(page: Page, place: Place, tmp_path: Path) -> None:
    page.click(f"#{place.key}-pin")
    until(page, place, "text.includes('same view')")
    here = moved(page, place)
    page.click(f"#{place.key}-to-files")
    inside(page, place, "files")
    buttons = page.locator(f"#{place.key}-files button[id^={place.key}-save-]")
    kinds = [button.get_attribute("id").rpartition("-")[2] for button in buttons.all()]
    assert {"png", "svg", "json", "csv"} <= set(kinds)
    made = []
    for kind in kinds:
        with page.expect_download(timeout=DRAWN) as download:
            page.click(f"#{place.key}-save-{kind}")
        made.append(tmp_path / download.value.suggested_filename)
        download.value.save_as(made[-1])
        recipe = read_recipe(made[-1])
        assert recipe.panel == place.key and recipe.pinned and recipe.facts["summary"] in here and recipe.link
    page.click(f"#{place.key}-release")
    until(page, place, "!text.startsWith('B:')")
    for path in made:
        away = moved(page, place)
        assert away != here
        page.set_input_files(f"#{place.key}-restore input[type=file]", path)
        until(page, place, f"text === {json.dumps(here)}")
        page.locator(f"#{place.key}-restore").get_by_label(re.compile("Clear|Remove")).first.click()


# 7: one function, four ways


async def by_mcp(url: str, tool: dict) -> str:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with (
        streamable_http_client(f"{url}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        names = [one.name for one in (await session.list_tools()).tools]
        assert tool["name"] in names
        answer = await session.call_tool(tool["name"], tool["arguments"])
        assert not answer.isError
        return answer.content[0].text


def by_http(block: str) -> str:
    words = shlex.split(block.partition("$(")[2].partition(" | ")[0])
    post = urllib.request.Request(words[2], words[words.index("-d") + 1].encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(post, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{words[2]}/{event}", timeout=60) as answer:
        return json.loads(answer.read().decode().partition("data: ")[2].splitlines()[0])[0]["summary"]


def test_the_same_function_four_ways(page: Page, place: Place) -> None:
    here = moved(page, place)
    page.click(f"#{place.key}-to-code")
    inside(page, place, "code")
    blocks = page.locator(f"#{place.key}-calls pre code")
    expect(blocks).to_have_count(4, timeout=DRAWN)
    page.wait_for_function(
        "key => document.querySelector(`#${key}-calls pre code`).innerText.includes("
        "` ${document.querySelector(`#tab-${key} .v-controls input[type=range]`).value}`)",
        arg=place.key,
    )  # fmt: skip
    command, python, http, tool = [one.removesuffix("\n") for one in blocks.all_inner_texts()]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(python, {})
    assert printed.getvalue().strip() == here
    assert by_http(http) == here
    with ThreadPoolExecutor(1) as elsewhere:  # the browser's own loop runs in this thread
        assert here in elsewhere.submit(asyncio.run, by_mcp(place.url, json.loads(tool))).result()
    words = [sys.executable, *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100 * PATIENCE, check=True)
    assert here in done.stdout


# 8: honest jobs


def test_a_job_costs_what_it_says_is_found_again_and_ends_at_once(page: Page, place: Place) -> None:
    unfold(page, place, "job")
    page.locator(f"#{place.key}-job label").last.click()  # the longest
    until(page, place, r"/takes about \d+ (s|min) here/.test(text)", "job-cost")
    for _ in range(20):
        page.locator(f"#{place.key}-job-start").click(no_wait_after=True)
    until(page, place, r"/\d+ % done, about .* left/.test(text)", "job-said")
    again = go(page.context.new_page(), place)
    unfold(again, place, "job")
    until(again, place, r"/\d+ % done/.test(text)", "job-said")
    again.locator(f"#{place.key}-job-cancel").click()
    started = time.monotonic()
    until(again, place, "text.includes('Cancelled.')", "job-said")
    assert time.monotonic() - started < 2 * PATIENCE
    until(page, place, "text.includes('Cancelled.')", "job-said")
    expect(page.locator(".toast-body")).to_have_count(0)  # nineteen presses asked for the same job
    again.close()


# 9, 10: the guided path, and what is whose


def test_the_guided_path_can_be_walked(page: Page, place: Place) -> None:
    unfold(page, place, "guide")
    page.click(f"#{place.key}-predicted")
    expect(page.locator(".toast-body")).to_contain_text("Type a number first")
    page.locator(".toast-close").click()
    page.locator(f"#{place.key}-guess :is(input, textarea)").fill("1,5")
    page.click(f"#{place.key}-predicted")
    before = said(page, place)
    page.click(f"#{place.key}-move")
    assert re.match(r"You predicted 1.5 .*, measured were [\d.]+", until(page, place, "text !== ''", "outcome"))
    assert said(page, place) != before
    page.click(f"#{place.key}-onward")
    page.locator(f"#{place.key}-answer input").first.check()
    assert re.match(r"(Yes|Not quite)\. .{10,}", until(page, place, "text !== ''", "verdict"))


def test_it_says_what_is_the_papers(page: Page, place: Place) -> None:
    unfold(page, place, "notes")
    text = page.locator(f"#{place.key}-notes .prose").last.inner_text()
    assert "ours" in text.lower() and "inferred" in text.lower()


# 11: keyboard, narrow, dark


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "light"), (390, "dark"), (1440, "dark")])
def test_it_fits_and_is_accessible_with_every_row_open(page: Page, place: Place, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    if (page.locator("#v-theme").get_attribute("aria-pressed") == "true") != (theme == "dark"):
        page.click("#v-theme")
    for door in page.locator(f"#tab-{place.key} .v-row button.label-wrap:not(.open)").all()[::-1]:
        door.click()
    page.wait_for_timeout(700)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate(SIDEWAYS, place.key) == []
    assert serious(page) == []
    page.set_viewport_size({"width": 1440, "height": 900})


def test_everything_is_reached_by_keyboard(page: Page, place: Place) -> None:
    wanted = page.locator(f"#tab-{place.key} .v-controls [id^={place.key}-]:is(.block, button)").all()
    ids = {one.get_attribute("id") for one in wanted if one.is_visible()} - {f"{place.key}-formula"}
    rows = {f"{place.key}-{row}" for row in ("guide", "gallery", "job", "files", "code", "notes")}
    reached = set()
    for _ in range(250):
        page.keyboard.press("Tab")
        reached |= set(page.evaluate(
            "() => { const ids = []; for (let at = document.activeElement; at; at = at.parentElement) ids.push(at.id);"
            " return ids.filter(Boolean); }"
        ))  # fmt: skip
        if ids | rows <= reached:
            break
    assert ids | rows <= reached, (ids | rows) - reached
    text = page.locator(f"#{place.key}-notes [data-testid=accordion-content] .prose")
    before = text.count() > 0 and text.first.is_visible()
    page.locator(f"#{place.key}-notes button.label-wrap").focus()
    page.keyboard.press("Enter")
    expect(text.first).to_be_visible(visible=not before)


# 12: many outputs at once


def test_the_gallery_is_sorted_and_opens_views(page: Page, place: Place) -> None:
    unfold(page, place, "gallery")
    until(page, place, "/take about/.test(text)", "gallery-said")
    page.click(f"#{place.key}-fill")
    cards = page.locator(f"#{place.key}-cards a")
    expect(cards.nth(1)).to_be_visible(timeout=DRAWN)
    with contextlib.suppress(Error):  # perhaps it is full by now
        page.locator(f"#{place.key}-stop").click(timeout=5_000)
    until(page, place, "/ of .*, in /.test(text)", "gallery-said")
    made = cards.all_inner_texts()
    page.locator(f"#{place.key}-order input").focus()
    for press in ("ArrowUp", "Enter"):
        page.keyboard.press(press)
    falling = "const all = [...document.querySelectorAll(`#${key}-cards small`)].map(one => parseFloat("
    falling += (
        "one.innerText.split(' ').pop())); return all.length > 1 && all.every((x, i) => i == 0 || x <= all[i-1]);"
    )
    page.wait_for_function(f"key => {{ {falling} }}", arg=place.key)
    assert sorted(made) == sorted(cards.all_inner_texts())
    settings = json.loads(cards.last.get_attribute("data-settings"))
    before = moved(page, place, "ArrowLeft")  # the card may show the view that the page began with
    cards.last.click()
    until(page, place, f"text !== {json.dumps(before)}")
    numbers = [[name, str(value)] for name, value in settings.items() if isinstance(value, int | float)]
    page.wait_for_function(  # what is usual stands in no address
        "numbers => numbers.every(([name, value]) =>"
        " [value, null].includes(new URL(window.location).searchParams.get(name)))",
        arg=numbers,
    )
