"""Controls made from a Settings model: same bounds, and nothing hostile passes."""

from __future__ import annotations

import math
from typing import Literal

import gradio as gr
import pytest
from pydantic import BaseModel, ConfigDict, Field

from backends.runtime.errors import UserError
from demos.kit.controls import check, control, restored, settings_of, validator


class Dial(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    share: float = Field(40, ge=0, le=90, multiple_of=5, title="Share", json_schema_extra={"unit": "%"})
    count: int = Field(3, ge=1, le=7, title="Count")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed")
    colour: Literal["red", "blue"] = Field("red", title="Colour")


def test_a_slider_takes_range_step_unit_and_default_from_the_field():
    slider = control(Dial, "share")
    assert isinstance(slider, gr.Slider)
    assert (slider.minimum, slider.maximum, slider.step, slider.value) == (0, 90, 5, 40)
    assert slider.label == "Share, %"


def test_a_wide_whole_number_becomes_a_number_box_and_choices_become_pills():
    assert isinstance(control(Dial, "seed"), gr.Number)
    radio = control(Dial, "colour", {"blue": "Blau"})
    assert radio.choices == [("red", "red"), ("Blau", "blue")]


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -1, 90.0001, 95, 41, None, "40", [], {}, True, "x" * 10_000]
)
def test_hostile_numbers_get_one_short_sentence(value):
    said = check(Dial, "share", value)
    assert said is not None and said.startswith("Share") and len(said) < 120


@pytest.mark.parametrize("value", [2.5, 0, 8, None, "3", False, math.nan])
def test_whole_numbers_are_whole(value):
    assert check(Dial, "count", value) is not None


@pytest.mark.parametrize("value", ["green", 3, None, ["red"]])
def test_choices_are_closed(value):
    assert check(Dial, "colour", value) is not None


def test_good_values_pass_and_become_settings():
    assert check(Dial, "share", 45) is None and check(Dial, "count", 7.0) is None
    assert settings_of(Dial, share=45, colour="blue") == Dial(share=45, colour="blue")
    with pytest.raises(UserError, match="Share"):
        settings_of(Dial, share=math.nan)


def test_the_validator_answers_once_an_input_and_skips_what_is_no_setting():
    answers = validator(Dial, "share", None, "colour")(math.nan, object(), "red")
    assert [a["is_valid"] for a in answers] == [False, True, True]
    assert "Share" in answers[0]["message"]


def test_a_link_overlays_what_fits_and_names_what_does_not():
    values, ignored = restored(
        Dial, {"share": "50", "colour": "green", "evil": "1", "seed": "7"}, {"share": 40, "colour": "red"}
    )
    assert values == {"share": 50, "colour": "red"}
    assert ignored == ["Colour"]


def test_a_link_can_be_held_to_what_there_is():
    assert restored(Dial, {"count": "6"}, {"count": 3}, {"count": range(5)}) == ({"count": 3}, ["Count"])
    assert restored(Dial, {"count": "4"}, {"count": 3}, {"count": range(5)}) == ({"count": 4}, [])
