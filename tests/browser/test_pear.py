"""The Pear panel as a visitor meets it: every number is read off the drawn page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import PATIENCE, settled
from tests.fakes.pictures import some, zipped
from tests.fakes.weights import served_with

DRAWN = 60_000 * PATIENCE
SAID = re.compile(
    r"At (\d+) % pruned(?:, edited by hand,)? (\d+) of (\d+) adapters are gone, .*: right after the prune ([\d.]+) % "
    r"of the validation pictures are right, before it ([\d.]+) %"
)


def opened(page: Page, url: str, query: str = "") -> re.Match[str]:
    """Open the panel; what the sentence says."""
    page.goto(f"{url}/?tab=pear{query}")
    expect(page.locator("#pear-caption")).to_contain_text("right after the prune", timeout=DRAWN)
    return sentence(page)


def sentence(page: Page) -> re.Match[str]:
    text = page.locator("#pear-caption").inner_text()
    said = SAID.search(text)
    assert said, text
    return said


def cell(page: Page, site: str):
    return page.locator(f"#pear-grid button[data-site='{site}']")


def test_the_sentence_is_what_the_backend_computes(page: Page, app_server: str) -> None:
    from backends.pear.service import open_bench
    from backends.pear.settings import PearSettings

    said = opened(page, app_server, "&pruned=75&task=digits&checkpoint=none")
    now = open_bench(device="cpu").look(PearSettings(pruned=75, task="digits", checkpoint="none"))
    assert said[0] in now.summary() and (int(said[2]), int(said[3])) == (9, 12)
    assert "trained on" in page.locator("#pear-protocol").inner_text()
    heights = page.evaluate(
        "() => document.querySelector('#pear-figure .js-plotly-plot').data"
        ".filter(trace => trace.name === 'right after the prune').map(trace => trace.y[0])"
    )
    assert heights == [pytest.approx(float(said[4]), abs=0.051)]


def test_a_pressed_cell_goes_through_its_three_states_and_the_address_knows(page: Page, app_server: str) -> None:
    before = opened(page, app_server, "&pruned=0&task=digits&edits=3q%3Aoff")
    expect(cell(page, "layer 3, q")).to_have_class(re.compile("v-off"), timeout=DRAWN)
    assert before[2] == "1"
    cell(page, "layer 2, v").focus()
    for state, edits in (("v-shared", "2v:shared,3q:off"), ("v-off", "2v:off,3q:off"), ("v-own", "3q:off")):
        page.keyboard.press("Enter")
        expect(cell(page, "layer 2, v")).to_have_class(re.compile(state), timeout=DRAWN)
        expect(cell(page, "layer 2, v")).to_be_focused()
        page.wait_for_function("edits => new URL(location).searchParams.get('edits') === edits", arg=edits)
    page.click("#pear-clear")
    expect(page.locator("#pear-caption")).to_contain_text("all 12 adapters are kept", timeout=DRAWN)
    expect(cell(page, "layer 3, q")).to_have_class(re.compile("v-own"))


def test_what_follows_the_number_is_drawn(page: Page, app_server: str) -> None:
    opened(page, app_server, "&task=digits")
    expect(page.locator("#pear-judged-said")).to_contain_text("Rank correlation", timeout=2 * DRAWN)
    expect(page.locator("#pear-courses-said")).to_contain_text("The loss jumps")
    expect(page.locator("#pear-cost")).to_contain_text("797 test pictures", timeout=2 * DRAWN)
    page.get_by_role("button", name="Same model, other numbers").click()
    settled(page, "#pear-rank")
    page.click("#pear-rank")
    expect(page.locator("#pear-gauge-said")).to_contain_text("by Taylor 0 (ranked", timeout=DRAWN)


def test_own_pictures_are_refused_in_one_sentence_or_trained(page: Page, app_server: str, tmp_path: Path) -> None:
    opened(page, app_server, "&task=digits")
    page.get_by_role("button", name="Your own pictures").click()
    settled(page, "#pear-own-start")
    page.click("#pear-own-start")
    expect(page.locator(".toast-body")).to_contain_text("Choose the file first")
    page.locator(".toast-close").click()
    page.set_input_files("#pear-own-file input[type=file]", zipped(tmp_path / "one.zip", some("birds")))
    expect(page.locator(".toast-body")).to_contain_text("class", timeout=DRAWN)
    page.locator(".toast-close").click()
    page.locator("#pear-own-file").get_by_label(re.compile("Clear|Remove")).first.click()
    page.set_input_files("#pear-own-file input[type=file]", zipped(tmp_path / "two.zip", some("a", "b", count=12)))
    expect(page.locator("#pear-own-note")).to_contain_text("2 classes; 16 to train on", timeout=DRAWN)
    page.locator("#pear-own label").nth(-3).click()  # the shortest training
    page.click("#pear-own-start")
    expect(page.locator("#pear-own-said")).to_contain_text("test pictures are right", timeout=2 * DRAWN)


@pytest.fixture(scope="module")
def other_adapters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with stronger adapters at the prune."""
    work = tmp_path_factory.mktemp("other")
    stronger = lambda name, value: 2 * value if "up" in name else value  # noqa: E731
    with served_with("pear/*/digits-stage.safetensors", stronger, work, "pear") as url:
        yield url


def test_other_weights_give_other_numbers(page: Page, browser: Browser, app_server: str, other_adapters: str) -> None:
    beside = browser.new_page()
    here = opened(beside, app_server, "&task=digits&pruned=75")
    beside.close()
    there = opened(page, other_adapters, "&task=digits&pruned=75")
    assert (here[4], here[5]) != (there[4], there[5])
