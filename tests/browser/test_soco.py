"""The SoCo panel as a visitor meets it: every number is read off the drawn page."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from tests.conftest import settled
from tests.fakes.weights import served_with

RING = """() => {
  const graph = document.querySelector('#soco-figure .js-plotly-plot');
  const now = graph && graph.data && graph.data.find(trace => trace.name === 'now');
  return now ? [now.x[0], now.y[0]] : null;
}"""


def opened(page: Page, url: str, query: str = "") -> list[float]:
    """Open the panel and wait for the live number; returns the ring's place."""
    page.goto(f"{url}/?tab=soco{query}")
    return ring(page, "true")


def ring(page: Page, condition: str) -> list[float]:
    """Wait until the ring (x, y) fulfils a condition on x."""
    page.wait_for_function(
        f"() => {{ const r = ({RING})(); if (!r) return false; const x = r[0]; return {condition}; }}", timeout=90_000
    )
    return page.evaluate(RING)


def unfolded(page: Page, title: str, content: str) -> None:
    """Open a closed row and wait until it can be used."""
    page.get_by_role("button", name=title).click()
    settled(page, content)


def sentence(page: Page) -> str:
    return page.locator("#soco-caption").inner_text()


def test_opens_with_a_live_perplexity_beside_the_dense_model(page: Page, app_server: str) -> None:
    x, y = opened(page, app_server)
    assert x == 40
    said = re.search(
        r"At 40 % removed, SoCo reaches perplexity ([\d.]+), ([\d.]+) ± [\d.]+ times the dense model's (\d+\.\d+)",
        sentence(page),
    )
    assert said, sentence(page)
    assert float(said[1]) == pytest.approx(y, abs=0.006)
    assert float(said[1]) / float(said[3]) == pytest.approx(float(said[2]), abs=0.01)
    protocol = page.locator("#tab-soco .v-figure .prose.v-protocol").inner_text()
    assert "context 256, stride 256" in protocol and "bits per byte" in protocol and "bundled, tiny" in protocol
    for label in ("SoCo", "SoCo+K", "SoCo+W", "Fair control", "SVD-LLM", "SVD", "dense"):
        expect(
            page.locator("#soco-figure .annotation-text", has_text=re.compile(f"^{re.escape(label)}$"))
        ).to_be_visible()


def test_dragging_moves_the_number_and_the_backend_agrees(page: Page, app_server: str) -> None:
    from backends.lm.texts import held_out
    from backends.soco import run, service
    from backends.soco.curves import read_curves

    opened(page, app_server, "&method=svd&removed=50")
    page.locator("#soco-removed input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    _, y = ring(page, "x === 51")
    anchor = read_curves("pydoc-llama").texts["held-out"].dense.nats
    own = run.measure(service.open_bench(device="cpu"), "svd", 51, held_out(), anchor=anchor)
    assert y == pytest.approx(own.value, rel=1e-5)
    assert own.perplexity.value > own.dense.value


def test_details_follow_and_the_whole_text_refines(page: Page, app_server: str) -> None:
    opened(page, app_server, "&method=control&removed=60")
    expect(page.locator("#tab-soco")).to_contain_text("distinct-2", timeout=90_000)
    expect(page.locator("#tab-soco")).to_contain_text("nats gained over uniform truncation", timeout=90_000)
    expect(page.locator("#tab-soco table")).to_contain_text("tokens a second, measured", timeout=90_000)
    said = "document.querySelector('#tab-soco .v-figure .prose.v-protocol').innerText"
    page.wait_for_function(f"() => parseInt({said}.replace(/,/g, '')) > 50000", timeout=110_000)


def test_a_link_restores_settings(page: Page, app_server: str) -> None:
    x, _ = opened(page, app_server, "&removed=70&method=svd&text=stories&seed=<script>")
    assert x == 70
    assert "SVD reaches" in sentence(page)
    assert "the project's own stories" in page.locator("#tab-soco .v-figure .prose.v-protocol").inner_text()


def test_back_returns_to_the_view(page: Page, app_server: str) -> None:
    opened(page, app_server)
    page.locator("#soco-removed input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#tab-soco .v-controls input[value='svd']").check()
    page.wait_for_url(re.compile("removed=41.*method=svd|method=svd.*removed=41"))
    page.get_by_role("link", name="Vitrine").click()
    page.wait_for_url(lambda url: "removed" not in url)
    page.go_back()
    page.wait_for_url(re.compile("removed=41"))


def test_a_text_of_ones_own_goes_into_the_file_and_not_into_the_link(
    page: Page, app_server: str, tmp_path: Path
) -> None:
    opened(page, app_server, "&method=svd")
    unfolded(page, "Your own text", "#soco-own textarea")
    page.locator("#soco-own textarea").fill("Returns the number of rows.\nAnd of columns, too. " * 5)
    page.wait_for_timeout(300)  # nobody types and presses in the same moment
    page.get_by_role("button", name="Measure this text").click()
    expect(page.locator("#soco-protocol")).to_contain_text("your text", timeout=60_000)
    page.click("#soco-link")
    expect(page.locator(".toast-body")).to_contain_text("too large for a link")
    page.click("#soco-to-files")
    settled(page, "#soco-save-json")
    with page.expect_download() as download:
        page.click("#soco-save-json")
    download.value.save_as(tmp_path / "own.json")
    said = sentence(page)
    other = page.context.new_page()
    opened(other, app_server)
    other.click("#soco-to-files")
    settled(other, "#soco-save-json")
    other.set_input_files("#soco-restore input[type=file]", tmp_path / "own.json")
    expect(other.locator("#soco-protocol")).to_contain_text("your text", timeout=60_000)
    assert sentence(other).split(",")[0] == said.split(",")[0]


def test_what_cannot_be_trained_says_so(page: Page, app_server: str) -> None:
    opened(page, app_server, "&method=svd")
    unfolded(page, "Run SoCo yourself", "#soco-job-start")
    expect(page.get_by_text("SVD truncates and trains nothing").first).to_be_visible(timeout=30_000)
    page.locator("#soco-job-start").click()
    expect(page.locator(".toast-body")).to_contain_text("SVD truncates and trains nothing")


def test_a_saved_model_is_whole(page: Page, app_server: str, tmp_path: Path) -> None:
    from backends.soco.materialise import load_compressed

    opened(page, app_server, "&method=svd&removed=50")
    page.click("#soco-to-files")
    settled(page, "#soco-save-json")
    with page.expect_download() as download:
        page.click("#soco-save-safetensors")
    download.value.save_as(tmp_path / "model.safetensors")
    model, facts = load_compressed(tmp_path / "model.safetensors")
    assert facts["removed"] == 50 and sum(p.numel() for p in model.parameters()) < 4_000_000


def test_a_text_of_ones_own_is_not_in_a_link(page: Page, app_server: str) -> None:
    opened(page, app_server, "&text=yours&layer=150")
    expect(page.get_by_text("does not travel in a link")).to_be_visible()
    expect(page.get_by_text("The link's value for “Layer” was ignored")).to_be_visible()


def test_your_own_text_is_scored_and_never_executed(page: Page, app_server: str) -> None:
    opened(page, app_server, "&method=svd")
    unfolded(page, "Your own text", "#soco-own textarea")
    page.get_by_label("Text", exact=True).last.fill(
        '<img src=x onerror="window.hacked=1"> Returns the number of rows. ' * 5
    )
    page.wait_for_timeout(300)  # nobody types and presses in the same moment
    page.get_by_role("button", name="Measure this text").click()
    expect(page.locator(".v-surprise span").first).to_be_visible(timeout=60_000)
    protocol = page.locator("#tab-soco .v-figure .prose.v-protocol")
    expect(protocol).to_contain_text("your text", timeout=60_000)
    page.wait_for_timeout(3_000)  # the whole held-out text was on its way when the text changed
    expect(protocol).to_contain_text("your text")
    assert page.evaluate("window.hacked") is None
    assert "<img" in page.locator(".v-surprise").inner_text()


def test_an_empty_text_gets_one_sentence(page: Page, app_server: str) -> None:
    opened(page, app_server, "&method=svd")
    unfolded(page, "Your own text", "#soco-own textarea")
    page.get_by_role("button", name="Measure this text").click()
    expect(page.get_by_text("type or paste at least one word")).to_be_visible()


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with noise in the language model's weights."""
    noise = torch.Generator().manual_seed(0)

    def shaken(name: str, value: torch.Tensor) -> torch.Tensor:
        if not name.endswith("down_proj.weight"):
            return value
        return value + (0.2 * value.float().std() * torch.randn(value.shape, generator=noise)).to(value.dtype)

    with served_with("models/pydoc-llama/*.safetensors", shaken, tmp_path_factory.mktemp("other"), "soco") as url:
        yield url


def test_other_weights_give_another_number(page: Page, browser: Browser, app_server: str, other_weights: str) -> None:
    beside = browser.new_page()
    _, here = opened(beside, app_server, "&method=svd&removed=30")
    beside.close()
    _, there = opened(page, other_weights, "&method=svd&removed=30")
    assert there > here * 1.01


def test_page_is_light(app_server: str) -> None:
    with urllib.request.urlopen(app_server, timeout=30) as answer:
        body = answer.read()
    assert len(body) < 300_000
    assert b"api_info_as_input" not in body  # what only the server reads
    assert b"hovertemplate" not in body  # figures come when a panel is opened
