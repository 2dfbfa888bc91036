"""Every download carries its recipe; dropping the file back restores the panel.

A figure becomes a picture in the page (Plotly's own `toImage`), and the recipe goes into it here.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from backends.runtime import recipes
from backends.runtime.errors import UserError
from backends.runtime.recipe_files import read_recipe
from backends.runtime.recipes import Input, Recipe
from demos.kit.controls import settings_of, shortened
from demos.kit.exhibit import Exhibit, Pinned, View
from demos.kit.jobs import served_folder
from demos.kit.links import link
from demos.kit.panel import QUIET, guarded, row

if TYPE_CHECKING:
    from demos.kit.frame import Frame

LARGEST_PICTURE = 12_000_000  # bytes of a data URL
PACKAGES = ("torch", "gradio", "transformers", "plotly")
KINDS = [".png", ".svg", ".json", ".zip", ".safetensors"]


def place(frame: Frame) -> None:
    """The closed row: a button for each kind of file, and the place where a file is dropped back."""
    e, key = frame.exhibit, frame.key
    promise = f"{4 + len(e.files)} kinds of file, each brings its view back"
    with row("Download and restore", promise, f"{key}-files"):
        figure = gr.Dropdown(
            [(title, ident) for title, ident in frame.figures.items()], value=f"{key}-figure", label="Figure",
            visible=len(frame.figures) > 1, elem_id=f"{key}-which",
        )  # fmt: skip
        with gr.Row(elem_classes="v-actions"):
            buttons = {kind: gr.Button(kind.upper() if len(kind) < 5 else kind, elem_id=f"{key}-save-{kind}")
                       for kind in ("png", "svg", "csv", "json", *e.files)}  # fmt: skip
        picture = gr.Textbox(visible="hidden")
        made = gr.File(visible="hidden", label="Download", elem_id=f"{key}-made")
        dropped = gr.File(
            label="Drop a file here that was downloaded from this panel", type="filepath", file_types=KINDS, height=110,
            elem_id=f"{key}-restore",
        )  # fmt: skip

    def saved(kind: str) -> Callable[..., str]:
        @guarded
        def save(drawn: Any, which: str, pinned: Pinned | None, *values: Any) -> str:
            view = frame.view(values)
            result = e.answer(frame.context, view)
            recipe = recipe_of(e, view, pinned, result, e.model(frame.context))
            target = served_folder(f"saved-{secrets.token_hex(8)}") / f"{_name(e, view, which, kind)}"
            if kind in e.files:
                e.files[kind](frame.context, view, target, recipes.into_metadata(recipe))
            else:
                target.write_bytes(_bytes(e, kind, drawn, result, pinned, recipe))
            return str(target)

        return save

    def restored(_: gr.EventData, path: str | None) -> list[Any]:
        if path is None:
            return [gr.skip() for _ in frame.everything]
        recipe = read_recipe(Path(path))
        view, pinned = views_of(e, recipe)
        turned = frame.turned(view, pinned and Pinned(pinned, e.answer(frame.context, pinned)))
        gr.Info(f"The view of {recipe.made[:10]} is back{_changes(recipe)}.")
        return turned

    def wire() -> None:
        for kind, button in buttons.items():
            inputs = [picture, figure, frame.pinned, *frame.asked]
            drawn = f"async (_, which, ...rest) => [await window.vitrine.picture(which, '{kind}'), which, ...rest]"
            event = button.click(
                saved(kind), inputs, made, js=drawn if kind in ("png", "svg") else None, validator=frame.check(3),
                concurrency_id="files", concurrency_limit=2, **QUIET,
            )  # fmt: skip
            event.success(None, made, None, js="(file) => window.vitrine.save(file)", api_visibility="private")
        dropped.upload(frame.turning(restored), dropped, frame.everything, **QUIET)

    frame.later(wire)


def recipe_of(exhibit: Exhibit, view: View, pinned: Pinned | None, result: Any, model: str) -> Recipe:
    """Everything that is needed to come back to a view, and what it answered."""
    kept = _kept(exhibit, view)
    return Recipe(
        panel=exhibit.key, settings=kept.settings, inputs=kept.inputs, pinned=pinned and _kept(exhibit, pinned.view),
        link=link(exhibit, view, pinned), made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=recipes.versions(*PACKAGES), model=model, facts=result.facts(),
    )  # fmt: skip


def _kept(exhibit: Exhibit, view: View) -> recipes.View:
    inputs = {one.name: Input.of(view.inputs[one.name]) for one in exhibit.travels(view)}
    return recipes.View(settings=view.settings.model_dump(), inputs=inputs)


def views_of(exhibit: Exhibit, recipe: Recipe) -> tuple[View, View | None]:
    """The views of a recipe. Raises UserError if it is another panel's, or what it asks for is not to be had."""
    if recipe.panel != exhibit.key:
        raise UserError(f"This file comes from the panel “{recipe.panel}”: open it there.")

    def view(kept: recipes.View) -> View:
        settings = settings_of(exhibit.settings, **kept.settings)
        return View(
            settings, {one.name: kept.inputs[one.name].text for one in exhibit.inputs if one.name in kept.inputs}
        )

    here = recipes.View(settings=recipe.settings, inputs=recipe.inputs)
    return view(here), recipe.pinned and view(recipe.pinned)


def _changes(recipe: Recipe) -> str:
    """Which versions are other ones now."""
    now = recipes.versions(*PACKAGES)
    other = [f"{name} {shortened(was)} then, {now[name]} now" for name, was in recipe.versions.items()
             if name in now and now[name] != was]  # fmt: skip
    return f"; its numbers may differ ({', '.join(other)})" if other else ""


def _bytes(exhibit: Exhibit, kind: str, drawn: Any, result: Any, pinned: Pinned | None, recipe: Recipe) -> bytes:
    if kind == "png":
        return recipes.into_png(_picture(drawn, "image/png"), recipe)
    if kind == "svg":
        return recipes.into_svg(_picture(drawn, "image/svg+xml"), recipe)
    if kind == "json":
        return recipes.into_json(recipe, result.facts())
    return recipes.into_zip({exhibit.key: recipes.csv_text(exhibit.table(result, pinned))}, recipe)


def _picture(drawn: Any, kind: str) -> bytes:
    """The bytes of the page's data URL. Raises UserError."""
    head, _, body = drawn.partition(",") if isinstance(drawn, str) else ("", "", "")
    if head != f"data:{kind};base64" or not body or len(body) > LARGEST_PICTURE:
        raise UserError("There is no figure to save yet: wait until it is drawn.")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise UserError("There is no figure to save yet: wait until it is drawn.") from error


def _name(exhibit: Exhibit, view: View, which: str, kind: str) -> str:
    """ "soco-removed-41-method-svd.png": the panel, the figure if it is not the main one, and what is not usual."""
    figure = str(which).removeprefix(f"{exhibit.key}-")
    words = [exhibit.key, *([figure] if kind in ("png", "svg") and figure != "figure" else [])]
    changed: Mapping[str, Any] = exhibit.changed(view.settings, exhibit.controls[0])
    for name, value in changed.items():
        if isinstance(value, int | float) or len(str(value)) < 12:
            words.append(f"{name}-{value:g}" if isinstance(value, float) else f"{name}-{value}")
    ending = "zip" if kind == "csv" else kind
    safe = "".join(c if c.isalnum() or c in "-." else "-" for c in "-".join(words))
    return f"{safe[:100]}.{ending}"
