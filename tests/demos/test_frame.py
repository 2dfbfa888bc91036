"""What the frame makes of an exhibit, without a page: links, calls, endpoints, cards, predictions, file names."""

from __future__ import annotations

import html
import inspect
import json
import shlex
import subprocess
import sys
from urllib.parse import parse_qsl

import pytest

from backends.runtime.errors import UserError
from backends.runtime.files import ROOT
from backends.runtime.words import signed
from backends.soco.settings import SocoSettings
from demos.kit import code, files, gallery, guide, links
from demos.kit.api import describe, endpoint
from demos.kit.controls import restored
from demos.kit.exhibit import Item, Pinned, View
from demos.kit.panel import AppContext
from demos.soco import EXHIBIT as SOCO
from tests.fakes.spring import EXHIBIT as SPRING
from tests.fakes.spring_method import SpringSettings, SpringTraining, solve

USUAL = View(SocoSettings())


def spring(**changes: object) -> View:
    return View(SpringSettings(**changes))


# ---- links -----------------------------------------------------------------------------------------------------------


def test_a_link_names_what_is_not_usual() -> None:
    assert links.link(SOCO, USUAL, None) == "?tab=soco"
    view = View(SocoSettings(removed=60, method="svd", prompt="a & b = c #1 é"))
    query = dict(parse_qsl(links.link(SOCO, view, None)[1:]))
    assert query == {"tab": "soco", "removed": "60", "method": "svd", "prompt": "a & b = c #1 é"}


@pytest.mark.parametrize("settings", [
    {"removed": 0, "temperature": 0.35, "seed": 2**31 - 1}, {"method": "soco-k", "layer": 5, "matrix": "q"},
    {"prompt": "'\"<b>&amp;%00+;", "rival": "svd", "tokens": 8},
])  # fmt: skip
def test_a_link_comes_back_as_it_was(settings: dict) -> None:
    view = View(SocoSettings(**settings))
    query = dict(parse_qsl(links.link(SOCO, view, None)[1:]))
    kept, ignored = restored(SocoSettings, query, SocoSettings().model_dump(), SOCO.allowed)
    assert SocoSettings(**kept) == view.settings and ignored == []


def test_a_is_in_the_link_even_where_it_is_usual() -> None:
    pinned = Pinned(USUAL, None)
    assert links.link(SOCO, View(SocoSettings(removed=50)), pinned) == "?tab=soco&removed=50&a.removed=40"


def test_what_does_not_fit_has_no_link() -> None:
    own = View(SocoSettings(text="yours"), {"own": "words"})
    assert [one.name for one in SOCO.travels(own)] == ["own"]
    assert links.pinned_part(SOCO, Pinned(own, None)) == ""
    long = View(SocoSettings(prompt="\U0001f600" * 200))
    assert (
        links.link(SOCO, long, None) == "" and len(links.link(SOCO, View(SocoSettings(prompt="x" * 200)), None)) < 300
    )


# ---- calls -----------------------------------------------------------------------------------------------------------


def test_the_command_names_what_is_not_usual() -> None:
    assert code.command(SOCO, USUAL) == "python -m backends.soco --quick"
    view = View(SocoSettings(removed=60, text="yours", prompt="it's"), {"own": "x"})
    assert shlex.split(code.command(SOCO, view)) == [
        "python", "-m", "backends.soco", "--quick", "--removed", "60", "--text", "yours", "--prompt", "it's", "--file",
        "own.txt",
    ]  # fmt: skip


def test_the_command_line_of_a_view_answers_the_view() -> None:
    view = spring(step=0.35, method="euler", damping=0.3)
    words = [sys.executable, *shlex.split(code.command(SPRING, view))[1:]]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == solve(view.settings).summary()


def test_flags_are_what_the_parser_reads() -> None:
    assert code.flags(SpringTraining, {"step": 0.25, "rounds": 7}) == ["--step", "0.25", "--rounds", "7"]


def test_calls_hold_the_arguments() -> None:
    said = code.calls(SOCO, View(SocoSettings(removed=60, text="yours"), {"own": "```" + "long " * 100}))
    assert said.count("```json") == 1 and '"removed": 60' in said and "long " * 100 not in said
    tool = json.loads(said.rpartition("```json\n")[2].rpartition("\n```")[0].removesuffix("`"))
    assert tool["name"] == "soco" and tool["arguments"]["text"] == "yours"


# ---- the endpoint ----------------------------------------------------------------------------------------------------


def test_the_endpoint_is_typed_and_described() -> None:
    call = endpoint(SPRING, AppContext())
    parameters = inspect.signature(call).parameters
    assert list(parameters) == list(SpringSettings.model_fields)
    assert parameters["step"].default == 0.2 and parameters["step"].annotation is float
    assert "step: Step, s. From 0.05 to 0.5 in steps of 0.05." in call.__doc__
    assert describe(SocoSettings, "method").startswith("Method.")


def test_the_endpoint_answers_by_place_and_by_name() -> None:
    call = endpoint(SPRING, AppContext())
    facts = solve(SpringSettings(step=0.3, method="euler")).facts()
    assert call(0.3, "euler") == facts == call(method="euler", step=0.3)


@pytest.mark.parametrize("step", [float("nan"), float("inf"), 0.33, True, None, "0.3", [], {}, -1, 5])
def test_the_endpoint_refuses_in_one_sentence(step: object) -> None:
    with pytest.raises(Exception, match=r"^.?Step(:| must) .*\.") as caught:
        endpoint(SPRING, AppContext())(step=step)
    assert "Traceback" not in str(caught.value)


# ---- the guided path -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "number"), [("1.5", 1.5), (" 2,25 ", 2.25), ("3", 3.0), ("1e2", 100.0)])
def test_a_prediction_is_read_as_people_type_it(text: str, number: float) -> None:
    assert guide.guess_of(text) == number


@pytest.mark.parametrize("text", ["", None, "two", "nan", "inf", "1.2.3", [], True])
def test_what_is_no_number_is_asked_for_again(text: object) -> None:
    with pytest.raises(UserError, match="Type a number first"):
        guide.guess_of(text)


def test_a_prediction_is_set_beside_the_measurement() -> None:
    assert "close" in guide.compared(1.0, 1.05, "×") and "far off" in guide.compared(9.0, 1.0, "×")
    assert "1.05 ×" in guide.compared(1.0, 1.05, "×")


# ---- the gallery -----------------------------------------------------------------------------------------------------


def test_cards_are_links_and_titles_are_escaped() -> None:
    made = gallery.cards_html("soco", [Item("<b>t</b>", "body", {"m": 0.5}, {"prompt": '"><script>', "removed": 60})])
    assert "<b>t" not in made and "<script>" not in made
    assert "tab=soco&amp;prompt=%22%3E%3Cscript%3E&amp;removed=60" in made
    settings = html.unescape(made.partition('data-settings="')[2].partition('"')[0])
    assert json.loads(settings) == {"prompt": '"><script>', "removed": 60}


def test_items_are_ranked_highest_first_and_the_unmeasured_last() -> None:
    items = [Item(str(i), "", {"m": m} if m is not None else {}, {}) for i, m in enumerate([1.0, None, 3.0, 2.0])]
    assert [item.title for item in gallery.ranked(items, "m")] == ["2", "3", "0", "1"]
    assert gallery.ranked(items, gallery.AS_MADE) == items


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_recipe_holds_the_view_and_gives_it_back() -> None:
    view, a = spring(step=0.3), spring(method="euler")
    recipe = files.recipe_of(SPRING, view, Pinned(a, solve(a.settings)), solve(view.settings), "")
    assert files.views_of(SPRING, recipe) == (view, a)
    assert recipe.link == "?tab=spring&step=0.3&a.step=0.2&a.method=euler"
    assert recipe.facts["error"] == solve(view.settings).error
    with pytest.raises(UserError, match="comes from the panel “spring”"):
        files.views_of(SOCO, recipe)


def test_a_text_of_ones_own_is_in_the_recipe() -> None:
    view = View(SocoSettings(text="yours"), {"own": "a text\r\nof two lines"})
    kept = files._kept(SOCO, view)
    assert kept.inputs["own"].text == "a text\r\nof two lines"
    assert files._kept(SOCO, View(SocoSettings(), {"own": "not asked for"})).inputs == {}


def test_settings_out_of_range_are_refused() -> None:
    recipe = files.recipe_of(SPRING, spring(), None, solve(SpringSettings()), "")
    wrong = recipe.model_copy(update={"settings": {"step": 9.0}})
    with pytest.raises(UserError, match="Step"):
        files.views_of(SPRING, wrong)
    unknown = recipe.model_copy(update={"settings": {"stepp": 0.2}})
    with pytest.raises(UserError, match="does not have"):
        files.views_of(SPRING, unknown)


def test_a_picture_is_what_the_page_drew() -> None:
    for drawn in (None, 5, "", "data:image/png;base64,", "data:text/html;base64,AAAA", "data:image/png;base64,%%%"):
        with pytest.raises(UserError, match="no figure to save"):
            files._picture(drawn, "image/png")


def test_differences_are_read_by_their_sign() -> None:
    assert (signed(1.2), signed(-0.3), signed(5, "d"), signed(float("nan"))) == ("+1.20", "−0.30", "+5", "?")
    assert (signed(-0.001), signed(0, ",d"), signed(-12000, ",d")) == ("0.00", "0", "−12,000")


def test_a_panel_is_less_than_sixty_lines() -> None:
    assert len((ROOT / "tests" / "fakes" / "spring.py").read_text().splitlines()) < 60
