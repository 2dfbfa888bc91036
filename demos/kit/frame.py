"""The frame around a method: what every panel has, in the same places, made from its Exhibit.

    def build(context):
        frame = Frame(EXHIBIT, context)
        frame.main()             # controls, formula and actions; figure, sentence and protocol
        ...                      # cards of the panel's own
        frame.details(follow, [ranks, spectrum])   # what is drawn after the number, while nothing else is asked for
        frame.rows()             # guided path, gallery, job, files, code, notes, the rest of the settings
        return frame.built()

A panel without cards of its own is `build = lambda context: Frame(EXHIBIT, context).whole()`.

Everything on the page follows from a View (settings and inputs) and a pinned one: `Frame.turned` is the one place that
says what a view looks like, for a moved control, a link, a restored file, an item of the gallery and the guided path.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr
from gradio.context import get_blocks_context

from backends.runtime.errors import UserError
from backends.runtime.gently import gently
from demos.kit import code, files, gallery, guide, jobs
from demos.kit.api import endpoint
from demos.kit.controls import control, restored, settings_of, validator
from demos.kit.exhibit import Exhibit, Pinned, View
from demos.kit.latest import Latest
from demos.kit.links import PINNED, follow, link, pinned_part
from demos.kit.panel import QUIET, AppContext, Built, Query, guarded, row

WATCHED = 4  # visitors whose details are made in turn, of the server's eight threads
LIVE = QUIET | {"trigger_mode": "always_last"}
# The page's script waits, not the server: a slider on its way asks for its number and for nothing else.
_RESTING = "window.vitrine.resting.%s = () => trigger('click');"
Details = Callable[[View, Pinned | None], Iterator[dict[gr.components.Component, Any]]]


@dataclass(frozen=True, eq=False)
class Shown:
    """What the page shows: settings and A's view. Each drawing is another one."""

    settings: Any
    pinned: View | None

    def differs(self, view: View, pinned: Pinned | None) -> bool:
        """Whether the controls have gone on: two answers that crossed on their way arrive in either order."""
        return self.settings != view.settings or self.pinned != (pinned and pinned.view)


class Frame:
    """One panel's frame. Components by their place; `asked`: what a view is read from, in order."""

    def __init__(self, exhibit: Exhibit, context: AppContext) -> None:
        self.exhibit, self.context, self.key = exhibit, context, exhibit.key
        self.controls: dict[str, gr.components.Component] = {}
        self.inputs: dict[str, gr.components.Component] = {}
        self.figures: dict[str, str] = {}  # title: the element that holds it
        self.latest = Latest()
        self.unloading: list[Callable[[gr.Request], object]] = [self._left]  # told when a page is closed
        self._later: list[Callable[[], None]] = []
        self._follow: tuple[Details, list[gr.components.Component]] | None = None
        self.pinned = gr.State(None)
        self.pinned_link = gr.Textbox(visible="hidden", elem_id=f"{self.key}-pinned")  # for the page's script
        self.shown = gr.State(None)  # what is drawn, another one each time
        self.rest = gr.HTML(visible="hidden", js_on_load=_RESTING % self.key)  # "clicked" after a pause
        self.cold = gr.State(False)  # the model was not loaded yet when the panel was opened

    # ---- placing ----------------------------------------------------------------------------------------------------

    def control(self, name: str, **extra: Any) -> gr.components.Component:
        """The control of a setting, wherever the caller is."""
        e = self.exhibit
        choices = e.choices.get(name)
        made = control(
            e.settings, name, e.labels.get(name), None if choices is None else list(choices),
            **{"elem_id": f"{self.key}-{name}"} | extra,
        )  # fmt: skip
        self.controls[name] = made
        return made

    def figure(self, title: str, ident: str, shown: bool = True) -> gr.Plot:
        """A figure that can be downloaded under its title. shown: its place is kept before it comes."""
        self.figures[title] = f"{self.key}-{ident}"
        return gr.Plot(show_label=False, container=False, visible=shown, elem_id=f"{self.key}-{ident}")

    def main(self, title: str = "Main figure") -> None:
        """The controls beside the figure."""
        with gr.Row(elem_classes="v-split"):
            with gr.Column(elem_classes=["v-card", "v-controls"]):
                for name in self.exhibit.controls:
                    self.control(name)
                self.formula = gr.Markdown(elem_classes="v-formula", elem_id=f"{self.key}-formula")
                self.remark = gr.Markdown(elem_classes="v-protocol")
                with gr.Row(elem_classes="v-actions"):
                    self.pin = gr.Button("Pin as A", variant="primary", elem_id=f"{self.key}-pin")
                    self.release = gr.Button("Release A", visible=False, elem_id=f"{self.key}-release")
                    self.link = gr.Button("Link", elem_id=f"{self.key}-link")
                    for label, place in (("Download", "files"), ("Code", "code")):
                        door = gr.Button(label, elem_id=f"{self.key}-to-{place}")
                        door.click(
                            None, js=f"() => window.vitrine.unfold('{self.key}-{place}')", api_visibility="private"
                        )
            with gr.Column(elem_classes=["v-card", "v-figure"]):
                self.plot = self.figure(title, "figure")
                self.caption = gr.Markdown(elem_classes="v-caption", elem_id=f"{self.key}-caption")
                self.protocol = gr.Markdown(elem_classes="v-protocol", elem_id=f"{self.key}-protocol")

    def details(self, details: Details, outputs: Sequence[gr.components.Component]) -> None:
        """What follows the number, part by part, once the controls rest: `details` yields {component: value}."""
        self._follow = details, list(outputs)

    def rows(self, *own: Callable[[], None]) -> None:
        """The closed rows; `own` place the panel's own ones."""
        e = self.exhibit
        guide.place(self)
        gallery.place(self)
        for place in own:
            place()
        if e.task is not None:
            jobs.place_task(self, e.task)
        files.place(self)
        self.code = code.place(self)
        with row("What is the paper's, what is ours", "and what had to be inferred", f"{self.key}-notes"):
            gr.Markdown(e.notes)
        if e.words:
            with row("Words", ", ".join(list(e.words)[:4]) + ", ...", f"{self.key}-words"):
                gr.Markdown("\n\n".join(f"**{word}**: {meaning}" for word, meaning in e.words.items()))
        if rest := [name for name in e.settings.model_fields if name not in self.controls]:
            titles = [str(e.settings.model_fields[name].title).lower() for name in rest]
            with row("Advanced", ", ".join(titles), f"{self.key}-advanced"), gr.Row():
                for name in rest:
                    self.control(name)

    def later(self, wire: Callable[[], None]) -> None:
        """Connect something once every control is placed."""
        self._later.append(wire)

    def live(self, event: Callable[..., Any]) -> None:
        """Let an event of a control ask for another number; those beside the figure do so by themselves."""

        def wire() -> None:
            inputs, outputs = [self.pinned, *self.asked], [*self.drawn, self.shown]
            event(self._live(), inputs, outputs, validator=self.check(1), **LIVE)

        self.later(wire)

    def whole(self) -> Built:
        """A panel with nothing beside the frame."""
        self.main()
        self.rows()
        return self.built()

    # ---- reading and showing ----------------------------------------------------------------------------------------

    @property
    def asked(self) -> list[gr.components.Component]:
        return [*self.controls.values(), *self.inputs.values()]

    @property
    def drawn(self) -> list[gr.components.Component]:
        return [self.plot, self.caption, self.protocol, self.formula, self.remark, self.code]

    @property
    def everything(self) -> list[gr.components.Component]:
        return [*self.asked, self.pinned, self.pinned_link, self.release, *self.drawn, self.shown]

    def check(self, before: int = 0) -> Callable[..., list[Any]]:
        """A validator for events whose inputs are `before` others and then `asked`."""
        return validator(self.exhibit.settings, *[None] * before, *self.controls, *[None] * len(self.inputs))

    def view(self, values: Sequence[Any]) -> View:
        """What the values of `asked` ask for. Raises UserError."""
        settings = settings_of(self.exhibit.settings, **dict(zip(self.controls, values, strict=False)))
        texts = [value if isinstance(value, str) else "" for value in values[len(self.controls) :]]
        return View(settings, dict(zip(self.inputs, texts, strict=True)))

    def view_of(self, settings: Mapping[str, Any], inputs: Mapping[str, str] | None = None) -> View:
        """A view from names and values, such as a file's. Raises UserError."""
        return View(settings_of(self.exhibit.settings, **settings), dict(inputs or {}))

    def redrawn(self, view: View, result: Any, pinned: Pinned | None) -> list[Any]:
        """The values of `drawn`."""
        e, said = self.exhibit, result.summary()
        if pinned is not None:
            said = f"**B:** {said} **A:** {result.against(pinned.result)}"
        return [
            e.draw(result, pinned),
            said,
            e.protocol(result),
            e.formula(result),
            e.remark(result),
            code.calls(e, view),
        ]

    def turned(self, view: View, pinned: Pinned | None, result: Any = None, here: View | None = None) -> list[Any]:
        """The values of `everything` for a view, and its result if it is known. Raises UserError.

        here: the view that was asked from. What is alike in both is not sent: the visitor may have moved it meanwhile.
        """
        if result is None:
            result = self.exhibit.answer(self.context, view)
        return [*self._set(view, here), *self._pinned(pinned), *self._shown(view, result, pinned)]

    def _shown(self, view: View, result: Any, pinned: Pinned | None) -> list[Any]:
        """The values of `drawn` and `shown`."""
        return [*self.redrawn(view, result, pinned), Shown(view.settings, pinned and pinned.view)]

    def _set(self, view: View, here: View | None) -> list[Any]:
        """The values of `asked`."""

        def values(one: View) -> list[Any]:
            settings = one.settings.model_dump()
            return [*[settings[name] for name in self.controls], *[one.inputs.get(name, "") for name in self.inputs]]

        there = values(view)
        if here is None:
            return there
        return [gr.skip() if new == old else new for new, old in zip(there, values(here), strict=True)]

    def _pinned(self, pinned: Pinned | None) -> list[Any]:
        """State, the address's part and the button that releases it."""
        return [pinned, pinned_part(self.exhibit, pinned), gr.Button(visible=pinned is not None)]

    # ---- wiring -----------------------------------------------------------------------------------------------------

    def built(self) -> Built:
        """Connect everything; to be called last."""
        e = self.exhibit
        for name in e.controls:
            self.live(self.controls[name].input)
        self.cold.change(self._wake(), [self.pinned_link, *self.asked], self.everything, **LIVE)
        self._wire_pin()
        self._wire_link()
        self.shown.change(None, js=f"() => window.vitrine.rest('{self.key}')", api_visibility="private")
        self._wire_details()
        for wire in self._later:
            wire()
        follow(self.key, e.settings, self.controls, self.pinned_link)
        self._open_endpoint()
        outputs = [*self.everything, self.cold]
        return Built(self._first, outputs, list(self.controls.values()), left=self._leave)

    def _open_endpoint(self) -> None:
        """The same function over HTTP and MCP; gr.api takes no validator, so that it is handed in afterwards."""
        e, blocks = self.exhibit, get_blocks_context()
        opened = gr.api(endpoint(e, self.context), api_name=self.key, concurrency_limit=None)
        assert blocks is not None
        blocks.fns[opened["id"]].validator = validator(e.settings, *e.settings.model_fields, *[None] * len(e.inputs))

    def turning(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A guarded handler that leads to another view: what is still being computed for the last one ends."""

        @guarded
        def turn(request: gr.Request, event: gr.EventData, *values: Any) -> Any:
            self.latest.renew(request.session_hash)
            return function(event, *values)

        return turn

    def _live(self) -> Callable[..., list[Any]]:
        def live(_: gr.EventData, pinned: Pinned | None, *values: Any) -> list[Any]:
            view = self.view(values)
            return self._shown(view, self.exhibit.answer(self.context, view), pinned)

        return self.turning(live)

    def _wake(self) -> Callable[..., list[Any]]:
        """The model has been loaded: what the measured figures stood for is drawn for real."""

        def wake(_: gr.EventData, pinned: str, *values: Any) -> list[Any]:
            view = self.view(values)
            return self.turned(view, self._restored_pin(dict(parse_qsl(pinned)))[0], here=view)

        return self.turning(wake)

    def _wire_pin(self) -> None:
        def pin(_: gr.EventData, *values: Any) -> list[Any]:
            view = self.view(values)
            result = self.exhibit.answer(self.context, view)
            return self.turned(view, Pinned(view, result), result, here=view)

        def release(_: gr.EventData, *values: Any) -> list[Any]:
            view = self.view(values)
            return self.turned(view, None, here=view)

        for button, handler in ((self.pin, pin), (self.release, release)):
            button.click(self.turning(handler), self.asked, self.everything, validator=self.check(), **QUIET)

    def _wire_link(self) -> None:
        @guarded
        def copied(pinned: Pinned | None, *values: Any) -> None:
            view = self.view(values)
            stays = self.exhibit.travels(view) + (self.exhibit.travels(pinned.view) if pinned else [])
            if stays or not link(self.exhibit, view, pinned):
                what = stays[0].title if stays else "This view"
                gr.Warning(f"{what} is too large for a link: download a file instead, which carries it.")
            else:
                gr.Info("The address of this view is on the clipboard.", duration=3)

        script = "(...values) => { window.vitrine.copy(); return values; }"
        self.link.click(copied, [self.pinned, *self.asked], None, js=script, validator=self.check(1), **QUIET)

    def _wire_details(self) -> None:
        """Once the controls rest: the view that they ask for, if another is shown, and what the panel itself adds."""
        follow, outputs = self._follow or (lambda view, pinned: iter(()), [])
        again = [*self.drawn, self.shown]

        def parts(shown: Shown | None, pinned: Pinned | None, view: View) -> Iterator[dict[Any, Any]]:
            if shown is not None and shown.differs(view, pinned):
                result = self.exhibit.answer(self.context, view)
                yield dict(zip(again, self._shown(view, result, pinned), strict=True))  # once it rests, the details
            else:
                yield from follow(view, pinned)

        @guarded
        def details(request: gr.Request, shown: Any, pinned: Pinned | None, *values: Any) -> Iterator[dict[Any, Any]]:
            outdated = self.latest.renew(request.session_hash)
            yield {self.shown: gr.skip()}  # Gradio empties the outputs of a generator that ends without a word
            with contextlib.closing(gently(parts(shown, pinned, self.view(values)), outdated)) as made:
                yield from made

        self.rest.click(
            details, [self.shown, self.pinned, *self.asked], [*again, *outputs], validator=self.check(2),
            concurrency_id="details", concurrency_limit=WATCHED, **LIVE,
        )  # fmt: skip

    def _leave(self, request: gr.Request) -> None:
        for told in self.unloading:
            told(request)

    def _left(self, request: gr.Request) -> None:
        self.latest.renew(request.session_hash)

    def _first(self, query: Query, *values: Any) -> list[Any]:
        """With a warm model the live answer at once, before that a preview. A link's settings where they fit."""
        e = self.exhibit
        present = dict(zip(self.controls, values, strict=True))
        own = {name: text for name, text in query.items() if not name.startswith(PINNED)}
        kept, ignored = restored(e.settings, own, present, e.allowed)
        for name in ignored:
            gr.Warning(f"The link's value for “{name}” was ignored.")
        view, here = self._without_inputs(self.view_of(kept)), self.view_of(present)
        preview = e.preview(self.context, view)
        if preview is None:
            pinned, ignored = self._restored_pin(query)
            for name in ignored:
                gr.Warning(f"The link's value of A for “{name}” was ignored.")
            return [*self.turned(view, pinned, here=here), False]
        figure, said, note = preview
        part = urlencode({name: text for name, text in query.items() if name.startswith(PINNED)})
        return [
            *self._set(view, here), None, part, gr.skip(),
            figure, said, note, "", "", code.calls(e, view), gr.skip(), True,
        ]  # fmt: skip

    def _restored_pin(self, query: Query) -> tuple[Pinned | None, list[str]]:
        """A, if a link names it, and what of it was ignored."""
        e = self.exhibit
        asked = {name.removeprefix(PINNED): text for name, text in query.items() if name.startswith(PINNED)}
        if not asked:
            return None, []
        usual = {name: field.default for name, field in e.settings.model_fields.items()}
        kept, ignored = restored(e.settings, asked, usual, e.allowed)
        view = self._without_inputs(self.view_of(kept))
        try:
            return Pinned(view, e.answer(self.context, view)), ignored
        except UserError:
            return None, list(asked)

    def _without_inputs(self, view: View) -> View:
        """A link carries no inputs: settings that need one are set back, and the visitor is told."""
        for one in self.exhibit.inputs:
            if one.used(view.settings):
                gr.Warning(f"{one.title} does not travel in a link: {one.again}.")
                view = self.view_of(view.settings.model_dump() | dict(one.otherwise))
        return view
