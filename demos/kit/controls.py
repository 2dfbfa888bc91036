"""Controls and their validators, made from a Settings model: nothing about a range is written twice.

    removed = control(SocoSettings, "removed")
    removed.input(draw, [removed, method], ..., validator=validator(SocoSettings, "removed", "method"))

A slider for a bounded number, radio buttons for up to six choices, a dropdown for more, a dropdown that one can write
into for a short text with proposals, a line of text for one without. The validator also runs for
calls over HTTP, and numbers reach it as they were sent: Gradio's own would round 40.5 and stumble over NaN and null.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Container, Mapping
from typing import Any

import gradio as gr
from annotated_types import Ge, Le, MultipleOf
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from backends.runtime.errors import UserError

MOST_RADIO_CHOICES = 6


def control(
    model: type[BaseModel],
    name: str,
    labels: Mapping[Any, str] | None = None,
    choices: list | None = None,
    **extra: Any,
) -> gr.components.Component:
    """The component for one field. `labels` words its choices; `choices` narrows them, e.g. to a model's layers."""
    field = model.model_fields[name]
    unit = (field.json_schema_extra or {}).get("unit", "") if isinstance(field.json_schema_extra, dict) else ""
    common = {"label": f"{field.title}, {unit}" if unit else field.title, "value": field.default} | extra
    if field.description:
        common = {"info": field.description} | common
    if field.annotation is str:
        if choices is None:
            return gr.Textbox(max_lines=1, **common)
        return gr.Dropdown(choices=list(choices), allow_custom_value=True, **common)
    options = choices if choices is not None else list(typing.get_args(field.annotation))
    if (options and typing.get_origin(field.annotation) is typing.Literal) or choices is not None:
        worded = [((labels or {}).get(option, str(option)), option) for option in options]
        if len(worded) > MOST_RADIO_CHOICES:
            return gr.Dropdown(choices=worded, **common)
        return gr.Radio(choices=worded, **{"elem_classes": "v-method-chips"} | common)
    low, high, step = bounds(field)
    if low is None or high is None:
        raise ValueError(f"{model.__name__}.{name} needs both bounds to become a control")
    if high - low > 10_000:
        number = gr.Number(
            minimum=low, maximum=high, step=step, precision=0 if field.annotation is int else None, **common
        )
    else:
        number = gr.Slider(low, high, step=step, precision=0 if step == int(step) else None, **common)
    number.preprocess = lambda payload: payload
    return number


def bounds(field: FieldInfo) -> tuple[float | None, float | None, float]:
    """Lowest and highest value, and the step: a field's own, or 1 for a whole number, or a hundredth of the range."""
    low = next((m.ge for m in field.metadata if isinstance(m, Ge)), None)
    high = next((m.le for m in field.metadata if isinstance(m, Le)), None)
    step = next((m.multiple_of for m in field.metadata if isinstance(m, MultipleOf)), None)
    if step is None:
        step = 1 if field.annotation is int else (high - low) / 100 if low is not None and high is not None else 1
    return low, high, step


def check(model: type[BaseModel], name: str, value: Any) -> str | None:
    """What is wrong with a value, in one sentence, or None. Stricter than pydantic: a switch or a text is no number."""
    field = model.model_fields[name]
    if field.annotation in (int, float) and (isinstance(value, bool | str) or value is None):
        return f"{field.title} must be a number."
    if field.annotation is str and isinstance(value, str) and not value.isprintable():
        return f"{field.title} must be one line of plain text."
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        return f"{field.title}: {_plain(error)}."
    step = next((m.multiple_of for m in field.metadata if isinstance(m, MultipleOf)), 0)
    if step > 0 and 0 < abs(value) < step / 2:  # pydantic takes 5e-324 for a multiple
        return f"{field.title}: should be a multiple of {step:g}."
    return None


def _plain(error: ValidationError) -> str:
    said = error.errors(include_input=False, include_url=False)[0]["msg"]
    return said.removeprefix("Input ").removeprefix("Value error, ").rstrip(".")


def shortened(text: str) -> str:
    """What a stranger wrote, as a part of a sentence: one line of at most 40 characters."""
    line = "".join(c if c.isprintable() else " " for c in text[:40])
    return line if len(text) <= 40 else f"{line[:39]}…"


def validator(model: type[BaseModel], *names: str | None) -> Callable[..., list[Any]]:
    """For an event whose inputs are these fields, in this order; None stands for an input that is not a setting."""

    def validate(*values: Any) -> list[Any]:
        found = [check(model, n, v) if n else None for n, v in zip(names, values, strict=True)]
        return [gr.validate(problem is None, problem or "") for problem in found]

    return validate


def settings_of(model: type[BaseModel], /, **values: Any) -> BaseModel:
    """A whole Settings value from checked controls, or from a file's or a card's names. Raises UserError."""
    for name, value in values.items():
        if name not in model.model_fields:
            raise UserError(f"“{shortened(name)}” is a setting that this panel does not have.")
        problem = check(model, name, value)
        if problem:
            raise UserError(problem)
    return model.model_validate(values)


def restored(
    model: type[BaseModel],
    query: Mapping[str, str],
    values: Mapping[str, Any],
    allowed: Mapping[str, Container[Any]] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Present values overlaid with a link's; what does not fit, or is not among `allowed`, is ignored and named."""
    kept, ignored = dict(values), []
    for name, text in query.items():
        field = model.model_fields.get(name)
        if field is None or name not in values:
            continue
        try:
            value = getattr(model.model_validate({name: text}), name)
        except ValidationError:
            ignored.append(field.title or name)
            continue
        if check(model, name, value) or (allowed and name in allowed and value not in allowed[name]):
            ignored.append(field.title or name)
        else:
            kept[name] = value
    return kept, ignored
