"""The shell in a real browser, around stand-in panels: dial and echo in one group, shout alone in another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import serious, served

PANELS = {"dial": "Dial", "echo": "Echo <i>", "shout": "Shout", "spring": "Spring"}


def go(page: Page, url: str, query: str = "") -> Page:
    """Open the page, and wait until Home is built behind whatever is shown."""
    page.goto(f"{url}/{query}")
    page.wait_for_selector("#home", state="attached")
    return page


def heard(page: Page) -> str:
    """What the echo panel was filled with."""
    box = page.locator("#echo-heard textarea")
    expect(box).to_have_value(re.compile("filling"))
    return box.input_value()


def drawn(page: Page) -> None:
    """The dial's figure is on the screen, not only in Python."""
    expect(page.locator("#tab-dial .js-plotly-plot .xtick").first).to_be_visible()


def test_a_panel_hears_that_a_page_was_closed(page: Page, shell_server: str) -> None:
    def closed(fresh: Page) -> int:
        return int(re.search(r"(\d+) pages closed", heard(go(fresh, shell_server, "?tab=echo")))[1])

    page.wait_for_timeout(1000)  # pages of other tests are gone
    before = closed(page)
    other = page.context.new_page()
    assert closed(other) == before
    other.close()
    page.wait_for_timeout(2000)
    assert closed(page.context.new_page()) == before + 1


def test_home_shows_a_card_for_every_panel(page: Page, shell_server: str) -> None:
    go(page, shell_server)
    cards = page.locator("#home a[data-key]")
    assert [card.get_attribute("data-key") for card in cards.all()] == list(PANELS)
    for card, title in zip(cards.all(), PANELS.values(), strict=True):
        expect(card.locator("strong")).to_have_text(title)
    expect(cards.nth(1)).to_contain_text("What <b>comes</b> back & why?")
    expect(cards.nth(1)).to_contain_text("A. Author & B. Author, 2024")
    expect(cards.nth(0)).to_contain_text("arXiv 2502.15092")
    expect(page.get_by_role("tab", name="Adapt")).to_have_count(0)


def test_nothing_is_computed_before_a_panel_is_opened(page: Page, shell_server: str) -> None:
    go(page, shell_server)
    values = page.evaluate("window.gradio_config.components.map((one) => JSON.stringify(one.props.value ?? null))")
    assert not [value for value in values if "xaxis" in value or "filling" in value]


@pytest.mark.parametrize("how", ["click", "Enter"])
def test_a_card_opens_its_panel(page: Page, shell_server: str, how: str) -> None:
    go(page, shell_server)
    card = page.locator("#home a[data-key=echo]")
    if how == "click":
        card.click()
    else:
        card.focus()
        page.keyboard.press(how)
    expect(page.get_by_role("heading", name="Echo <i>")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?tab=echo$"))
    assert heard(page).endswith("{}")


def test_a_group_shows_and_fills_its_first_panel(page: Page, shell_server: str) -> None:
    go(page, shell_server)
    page.click("#group-compress-button")
    drawn(page)
    expect(page.locator("#tab-dial .v-caption strong")).to_have_text("40 %")
    expect(page).to_have_url(re.compile(r"\?tab=dial$"))


def test_a_panel_is_filled_once_per_session(page: Page, shell_server: str) -> None:
    go(page, shell_server, "?tab=echo")
    before = heard(page)
    page.click("#tab-home-button")
    page.click("#group-compress-button")
    page.click("#tab-dial-button")
    drawn(page)
    page.click("#tab-echo-button")
    expect(page.locator("#echo-heard")).to_be_visible()
    page.wait_for_timeout(500)
    assert heard(page) == before


def test_a_link_opens_its_panel_with_its_settings(page: Page, shell_server: str) -> None:
    go(page, shell_server, "?tab=dial&ratio=70")
    drawn(page)
    expect(page.locator("#tab-dial .v-caption strong")).to_have_text("70 %")
    expect(page.locator("#dial-ratio input[type=number]")).to_have_value("70")
    assert page.url.endswith("/?tab=dial&ratio=70")


def test_only_the_named_panel_gets_the_settings(page: Page, shell_server: str) -> None:
    go(page, shell_server, "?tab=echo&ratio=70&__theme=light&word=%3Cb%3E")
    assert heard(page).endswith('{"ratio": "70", "word": "<b>"}')
    page.click("#tab-dial-button")
    expect(page.locator("#tab-dial .v-caption strong")).to_have_text("40 %")
    expect(page).to_have_url(re.compile(r"\?tab=dial&__theme=light$"))


def test_an_address_that_is_too_long_is_no_settings(page: Page, shell_server: str) -> None:
    go(page, shell_server, "?tab=echo&word=" + "x" * 3000)
    assert heard(page).endswith("{}")


@pytest.mark.parametrize("query", ["?tab=nonsense", "?tab=", "?tab=%22%5D%3Cscript%3E", "?tab=dial&tab=nonsense"])
def test_an_unknown_tab_is_ignored(page: Page, shell_server: str, query: str) -> None:
    go(page, shell_server, query)
    expect(page.locator("#home h1, #tab-dial h1").first).to_be_attached()
    page.click("#group-know-button")
    expect(page).to_have_url(re.compile(r"\?tab=shout$"))


def test_back_and_forward(page: Page, shell_server: str) -> None:
    go(page, shell_server)
    page.click("#home a[data-key=echo]")
    heard(page)
    page.click("#tab-dial-button")
    drawn(page)
    page.go_back()
    expect(page.locator("#echo-heard")).to_be_visible()
    page.go_back()
    expect(page.locator("#home")).to_be_visible()
    page.go_forward()
    expect(page.locator("#echo-heard")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?tab=echo$"))
    page.click(".v-name")
    expect(page.locator("#home")).to_be_visible()


def test_a_control_redraws(page: Page, shell_server: str) -> None:
    go(page, shell_server, "?tab=dial")
    drawn(page)
    page.locator("#dial-ratio input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-dial .v-caption strong")).to_have_text("50 %")


def test_faults_are_one_sentence(page: Page, shell_server: str) -> None:
    go(page, shell_server, "?tab=shout")
    expect(page.locator(".toast-body")).to_contain_text("The voice is missing: bring one.")
    page.locator(".toast-close").click()
    page.click("#group-compress-button")
    page.get_by_role("button", name="Break").click()
    toast = page.locator(".toast-body")
    expect(toast).to_contain_text(re.compile("Internal error, id [0-9a-f]{8}"))
    expect(toast).not_to_contain_text("division")


def test_a_row_opens_by_keyboard(page: Page, shell_server: str) -> None:
    go(page, shell_server, "?tab=dial")
    expect(page.get_by_text("predict, move, explain: 5 minutes")).to_be_visible()
    expect(page.get_by_label("Your prediction")).to_be_hidden()
    page.get_by_role("button", name="Guided path").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your prediction")).to_be_visible()


@pytest.mark.parametrize("query", ["", "?tab=dial", "?tab=echo"])
def test_no_horizontal_scroll_on_a_phone(page: Page, shell_server: str, query: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    go(page, shell_server, query)
    if query == "?tab=dial":
        drawn(page)
        controls, figure = (page.locator(f"#tab-dial .{name}").bounding_box() for name in ("v-controls", "v-figure"))
        assert controls["y"] < figure["y"] and controls["x"] == figure["x"]
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = page.evaluate(
        "[...document.querySelectorAll('#home, .v-card, .v-row, h1, button')]"
        ".filter((one) => one.offsetParent && one.getBoundingClientRect().right > 391).map((one) => one.outerHTML)"
    )
    assert wide == []


def test_the_dark_page(page: Page, shell_server: str) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    go(page, shell_server, "?__theme=dark")
    expect(page.locator("body")).to_have_class(re.compile("dark"))
    assert page.evaluate(paper) == "rgb(22, 22, 24)"
    go(page, shell_server)
    assert page.evaluate(paper) == "rgb(246, 244, 238)"
    page.get_by_role("button", name="Dark page").click()
    assert page.evaluate(paper) == "rgb(22, 22, 24)"
    go(page, shell_server, "?tab=dial")
    drawn(page)
    expect(page.locator("#v-theme")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(paper) == "rgb(22, 22, 24)"
    tick = page.locator("#tab-dial .xtick text").first
    assert tick.evaluate("(one) => getComputedStyle(one).fill") == "rgb(165, 162, 155)"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("query", ["", "tab=dial&"])
def test_axe_finds_nothing_serious(page: Page, shell_server: str, query: str, theme: str) -> None:
    go(page, shell_server, f"?{query}__theme={theme}")
    if query:
        drawn(page)
    assert serious(page) == []


def test_every_door_is_reached_by_tab(page: Page, shell_server: str) -> None:
    go(page, shell_server)
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.key ?? document.activeElement.id"))
    assert [key for key in reached if key in PANELS] == list(PANELS)
    assert "v-theme" in reached


def test_two_visitors_are_strangers(page: Page, shell_server: str) -> None:
    go(page, shell_server, "?tab=echo&word=mine")
    assert '"mine"' in heard(page)
    other = page.context.new_page()
    go(other, shell_server, "?tab=echo&word=yours")
    assert '"yours"' in heard(other) and '"mine"' in heard(page)


def test_sigterm_with_a_page_open(browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context()  # its page may say that the server is gone
    page = context.new_page()
    with served(["-m", "tests.fakes.serve"], tmp_path) as url:
        go(page, url, "?tab=echo")
        heard(page)
    context.close()


def test_home_of_the_real_panels(page: Page, app_server: str) -> None:
    from demos import load_panels

    go(page, app_server)
    keys = [panel.key for panel in load_panels()]
    assert [card.get_attribute("data-key") for card in page.locator("#home a[data-key]").all()] == keys
    assert serious(page) == []
    page.locator("#home a[data-key]").first.click()
    expect(page.locator(f"#tab-{keys[0]} .v-question")).to_be_visible()
