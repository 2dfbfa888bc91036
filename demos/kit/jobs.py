"""A job in a panel: what it will cost, a button, its progress as it runs, a way to end it, and what it made.

What is run is an exhibit's Task: the method's own command line, with settings made from the present view. The page
keeps the job's id, so a reloaded page finds its job again; a closed page does not end it.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

from backends.runtime.errors import UserError
from backends.runtime.files import cache_folder
from backends.runtime.jobs import ENDED, Job, Jobs, Order
from demos.kit.code import flags
from demos.kit.controls import check, control
from demos.kit.exhibit import Task, Upload
from demos.kit.panel import QUIET, guarded, row
from demos.kit.uploads import keep_upload, upload_path

if TYPE_CHECKING:
    from demos.kit.frame import Frame

LOOKS = 0.4  # seconds between two looks at a job
DRAWS = 1.2  # seconds between two figures
Story = Callable[[Any, list[dict[str, Any]], Path], tuple[Any, str, list[Path]]]


@functools.cache
def jobs() -> Jobs:
    """The one queue of this server."""
    return Jobs(cache_folder() / "jobs")


@dataclass(frozen=True)
class JobView:
    """The parts of a job in a panel. kept: its id, in the visitor's browser; watched: the id that is being drawn."""

    cost: gr.Markdown
    start: gr.Button
    cancel: gr.Button
    said: gr.Markdown
    plot: gr.Plot
    made: gr.File
    kept: gr.BrowserState
    watched: gr.State


def place_task(frame: Frame, task: Task) -> None:
    """The closed row of a task: its file if it needs one, cost, start, progress, cancel, what it made."""
    key = f"{frame.key}-{task.ident}"
    with row(task.title, task.promise, key) as opened:
        held = _place_upload(frame, key, task.upload) if task.upload else gr.State("")
        chosen = {
            name: control(task.settings, name, choices=list(choices), elem_id=f"{key}-{name}")
            for name, choices in task.extra.items()
        }
        view = _place(key, task.label)

    def asked(values: Sequence[Any]) -> tuple[Any, Any]:
        there = frame.view(values[len(chosen) :])
        extra = dict(zip(chosen, values, strict=False))
        for name, value in extra.items():
            if problem := check(task.settings, name, value):
                raise UserError(problem)
        return there, task.asks(there, **extra)

    @guarded
    def begin(request: gr.Request, uploaded: Any, *values: Any) -> str:
        there, settings = asked(values)
        file = upload_path(uploaded, task.upload.ending) if task.upload else None
        named = settings.model_dump(include=settings.model_fields_set)
        arguments = [*flags(task.settings, named), *task.options(frame.context, there, file)]
        seconds = task.seconds(frame.context, settings)
        title = task.describe(settings)
        return jobs().submit(Order(task.module, tuple(arguments), title, seconds, str(request.session_hash)))

    @guarded
    def cost(*values: Any) -> str:
        try:
            _, settings = asked(values)
            seconds = task.seconds(frame.context, settings)
        except UserError as error:
            return str(error)
        wait = jobs().expected_wait()
        before = f" after {clock(wait)} of waiting for others" if wait else ""
        return f"{task.describe(settings)} takes about {clock(seconds)} here{before}."

    @guarded
    def end(ident: str) -> None:
        jobs().cancel(ident)

    def wire() -> None:
        inputs = [*chosen.values(), *frame.asked]
        changed = [opened.expand, *(c.input for c in chosen.values()), frame.rest.click]
        checked = frame.check(len(chosen))
        gr.on(changed, cost, inputs, view.cost, validator=checked, trigger_mode="always_last", **QUIET)
        view.start.click(
            begin, [held, *inputs], view.kept, validator=frame.check(1 + len(chosen)), concurrency_limit=None, **QUIET
        )

    frame.later(wire)
    view.kept.change(_found, view.kept, view.watched, concurrency_limit=None, **QUIET)  # also when a page is loaded
    drawn = [view.cancel, view.said, view.plot, view.made]
    watch = guarded(functools.partial(_watch, task.story))
    view.watched.change(watch, view.watched, drawn, concurrency_limit=None, **QUIET)
    view.cancel.click(end, view.watched, None, concurrency_limit=None, **QUIET)


def _place_upload(frame: Frame, key: str, upload: Upload) -> gr.Textbox:
    """Where a file is dropped; the name under which it is kept."""
    file = gr.File(label=upload.label, file_types=[upload.ending], type="filepath", height=110, elem_id=f"{key}-file")
    held = gr.Textbox(visible="hidden", elem_id=f"{key}-held")
    note = gr.Markdown(elem_classes="v-protocol", elem_id=f"{key}-note")

    @guarded
    def keep(path: str | None) -> Sequence[str]:
        if not path:
            return "", ""
        return keep_upload(path, upload.ending, upload.most, functools.partial(upload.check, frame.context))

    # what was there before goes first: a refused file must not leave its predecessor to be taken for it
    forgotten = file.upload(lambda: ("", ""), None, [held, note], **QUIET)
    forgotten.then(keep, file, [held, note], concurrency_id="upload", concurrency_limit=2, **QUIET)
    file.clear(lambda: ("", ""), None, [held, note], **QUIET)
    return held


def _place(key: str, label: str) -> JobView:
    cost = gr.Markdown(elem_classes="v-protocol", elem_id=f"{key}-cost")
    with gr.Row(elem_classes="v-actions"):
        start = gr.Button(label, variant="primary", elem_id=f"{key}-start")
        cancel = gr.Button("Cancel", visible=False, elem_id=f"{key}-cancel")
    said = gr.Markdown(elem_classes="v-caption", elem_id=f"{key}-said")
    plot = gr.Plot(show_label=False, container=False, visible=False, elem_id=f"{key}-plot")
    made = gr.File(label="What it made", visible=False, elem_id=f"{key}-made")
    kept = gr.BrowserState("", storage_key=f"vitrine-{key}", secret=key)
    return JobView(cost, start, cancel, said, plot, made, kept, gr.State(""))


def _found(kept: Any) -> str:
    """The id that a page has kept, if there still is such a job."""
    try:
        return jobs().find(kept).id if isinstance(kept, str) and kept else ""
    except UserError:
        return ""


async def _watch(story: Story, ident: str) -> AsyncIterator[list[Any]]:
    """No thread waits with it: the event loop looks now and then."""
    if not ident:
        hidden = gr.update(value=None, visible=False)
        yield [gr.Button(visible=False), "", hidden, hidden]
        return
    drawn, skip = 0.0, gr.skip()
    while True:
        job = jobs().find(ident)
        over = job.state in ENDED
        figure, told, files = None, "", []
        if over or time.monotonic() - drawn > DRAWS:
            figure, told, files = await asyncio.to_thread(_tell, story, job)
            drawn = time.monotonic()
        said = " ".join(filter(None, [_standing(job), told]))
        file = gr.File([_served(path) for path in files], visible=True) if files else skip
        yield [gr.Button(visible=not over), said, gr.update(value=figure, visible=True) if figure else skip, file]
        if over:
            return
        await asyncio.sleep(LOOKS)


def _tell(story: Story, job: Job) -> tuple[Any, str, list[Path]]:
    queue = jobs()
    arguments = dict(zip(job.order.arguments[::2], job.order.arguments[1::2], strict=False))
    return story(arguments, queue.events(job.id), queue.result(job.id))


def _served(path: Path) -> str:
    """A copy where Gradio may serve it from."""
    copy = served_folder(path.parent.name) / path.name
    shutil.copy(path, copy)
    return str(copy)


def served_folder(name: str) -> Path:
    """A folder that Gradio serves files from, and sweeps."""
    folder = Path(get_upload_folder()) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _standing(job: Job) -> str:
    """Where the job stands, in words."""
    if job.state == "waiting":
        place = jobs().place(job.id)
        return f"Waiting: {place} job{'s' if place != 1 else ''} before yours."
    if job.state == "running":
        return f"{100 * job.fraction:.0f} % done, about {clock(job.left or 0)} left: {job.message.rstrip('.')}."
    if job.state == "done":
        return f"Done in {clock(job.elapsed)}."
    return job.message


def clock(seconds: float) -> str:
    """ "40 s", "3 min"."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
