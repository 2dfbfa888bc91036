"""The guided path: predict a number, move to where it is measured, read why, answer one question."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr

from backends.runtime.errors import UserError
from demos.kit.panel import QUIET, guarded, row

if TYPE_CHECKING:
    from demos.kit.frame import Frame

STEPS = ("Predict", "Move", "Explain", "Check")


def place(frame: Frame) -> None:
    """The closed row with its four steps."""
    g, key = frame.exhibit.guide, frame.key
    with (
        row("Guided path", "predict, move, explain, check: five minutes", f"{key}-guide"),
        gr.Walkthrough(selected=0, elem_id=f"{key}-steps") as steps,
    ):
        with gr.Step(STEPS[0], id=0):
            gr.Markdown(g.predict)
            guess = gr.Textbox(
                label=f"Your prediction, {g.unit}", placeholder="a number", max_lines=1, elem_id=f"{key}-guess"
            )
            predicted = _button("This is my prediction", f"{key}-predicted")
        with gr.Step(STEPS[1], id=1):
            gr.Markdown(f"The panel moves to {_words(frame)} and measures.")
            move = _button("Move there and measure", f"{key}-move")
        with gr.Step(STEPS[2], id=2):
            outcome = gr.Markdown(elem_classes="v-caption", elem_id=f"{key}-outcome")
            onward = _button("On to the question", f"{key}-onward")
        with gr.Step(STEPS[3], id=3):
            gr.Markdown(g.check.text)
            answer = gr.Radio(
                [(text, i) for i, text in enumerate(g.check.choices)], label=g.check.text, show_label=False,
                container=False, elem_classes="v-method-chips", elem_id=f"{key}-answer",
            )  # fmt: skip
            verdict = gr.Markdown(elem_classes="v-caption", elem_id=f"{key}-verdict")
            again = _button("From the beginning", f"{key}-again", "secondary")

    @guarded
    def go(guessed: Any) -> gr.Walkthrough:
        guess_of(guessed)
        return gr.Walkthrough(selected=1)

    def measure(_: gr.EventData, pinned: Any, guessed: Any, *values: Any) -> list[Any]:
        here = frame.view(values)
        there = frame.view_of(here.settings.model_dump() | dict(g.moves), here.inputs)
        number, result = guess_of(guessed), frame.exhibit.answer(frame.context, there)
        turned = frame.turned(there, pinned, result, here)
        return [
            *turned,
            f"{compared(number, g.number(result), g.unit)} {g.explain(result)}",
            gr.Walkthrough(selected=2),
        ]

    @guarded
    def judge(choice: Any) -> str:
        if choice is None:
            return ""
        return f"**{'Yes' if choice == g.check.right else 'Not quite'}.** {g.check.because}"

    def wire() -> None:
        predicted.click(go, guess, steps, **QUIET)
        move.click(
            frame.turning(measure), [frame.pinned, guess, *frame.asked], [*frame.everything, outcome, steps],
            validator=frame.check(2), **QUIET,
        )  # fmt: skip

    frame.later(wire)
    onward.click(None, None, steps, js="() => ({__type__: 'update', selected: 3})", api_visibility="private")
    again.click(None, None, steps, js="() => ({__type__: 'update', selected: 0})", api_visibility="private")
    answer.input(judge, answer, verdict, **QUIET)


def _button(label: str, ident: str, variant: Literal["primary", "secondary"] = "primary") -> gr.Button:
    with gr.Row(elem_classes="v-actions"):
        return gr.Button(label, variant=variant, elem_id=ident)


def guess_of(text: Any) -> float:
    """A number as people type it, with a point or a comma. Raises UserError."""
    try:
        number = float(str(text).strip().replace(",", "."))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError("Type a number first: a guess is enough.")
    return number


def compared(guess: float, measured: float, unit: str) -> str:
    """What was predicted beside what was measured."""
    off = abs(guess - measured) / abs(measured) if measured else math.inf
    how = "close" if off < 0.1 else "not far" if off < 0.3 else "far off: most people's first guess is"
    return f"You predicted {guess:g} {unit}, measured were **{measured:.2f} {unit}**: {how}."


def _words(frame: Frame) -> str:
    """The settings that are moved to, in words: "Linear parameters removed 60 %, Method SoCo"."""
    said = []
    for name, value in frame.exhibit.guide.moves.items():
        field = frame.exhibit.settings.model_fields[name]
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        worded = frame.exhibit.labels.get(name, {}).get(value, f"{value:g}" if isinstance(value, float) else value)
        said.append(f"{str(field.title).lower()} **{worded}{' ' + str(extra['unit']) if 'unit' in extra else ''}**")
    return ", ".join(said)
