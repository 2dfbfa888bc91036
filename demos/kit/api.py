"""The typed endpoint of a panel: one function for HTTP, gradio_client and MCP, made from the Settings model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from demos.kit.controls import bounds, settings_of
from demos.kit.exhibit import Exhibit, View
from demos.kit.panel import AppContext, guarded


def endpoint(exhibit: Exhibit, context: AppContext) -> Callable[..., dict[str, Any]]:
    """A function of the settings and inputs by name that returns the result's facts; what is wrong is one sentence."""
    fields = exhibit.settings.model_fields
    names = [*fields, *(one.name for one in exhibit.inputs)]

    def call(*values: Any, **named: Any) -> dict[str, Any]:
        given = dict(zip(names, values, strict=False)) | named
        settings = settings_of(exhibit.settings, **{name: given[name] for name in fields if name in given})
        inputs = {one.name: _text(given.get(one.name)) for one in exhibit.inputs}
        return exhibit.answer(context, View(settings, inputs)).facts()

    parameters = [_parameter(name, field.annotation, field.default) for name, field in fields.items()]
    parameters += [_parameter(one.name, str, "") for one in exhibit.inputs]
    call.__name__ = call.__qualname__ = exhibit.key
    call.__doc__ = _document(exhibit)
    call.__signature__ = inspect.Signature(parameters, return_annotation=dict[str, Any])
    call.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": dict[str, Any]}
    return guarded(call)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _document(exhibit: Exhibit) -> str:
    lines = [exhibit.what, "", "Args:"]
    lines += [f"    {name}: {describe(exhibit.settings, name)}" for name in exhibit.settings.model_fields]
    lines += [f"    {one.name}: {one.title}, where the settings ask for it." for one in exhibit.inputs]
    return "\n".join([*lines, "", "Returns:", "    The result: a summary in words, and every number by name."])


def describe(model: type[BaseModel], name: str) -> str:
    """A setting in words: what it is, its unit, its range and its step."""
    field: FieldInfo = model.model_fields[name]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    title = f"{field.title}, {extra['unit']}." if "unit" in extra else f"{field.title}."
    said = f"{title} {field.description or ''}".strip()
    if field.annotation not in (int, float):
        return said
    low, high, step = bounds(field)
    return f"{said} From {low:.12g} to {high:.12g} in steps of {step:g}."
