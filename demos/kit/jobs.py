"""A job in a panel: what it will cost, a button, its progress as it runs, a way to end it, and what it made.

    job = place("soco-job", "Run SoCo")
    wire(job, order, [removed, method], story, check)

`order(request, *values)` says what to run; `story(job, events)` gives the figure and the sentence of what was told so
far. The page keeps the job's id, so a reloaded page finds its job again; a closed page does not end it.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from backends.runtime.errors import UserError
from backends.runtime.files import cache_folder
from backends.runtime.jobs import ENDED, Job, Jobs, Order
from demos.kit.panel import guarded

LOOKS = 0.4  # seconds between two looks at a job
DRAWS = 1.2  # seconds between two figures
Story = Callable[[Job, list[dict[str, Any]]], tuple[Any, str, list[Path]]]


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


def place(key: str, label: str) -> JobView:
    """Put the parts where the caller is."""
    cost = gr.Markdown(elem_classes="v-protocol")
    with gr.Row():
        start = gr.Button(label, variant="primary", elem_id=f"{key}-start")
        cancel = gr.Button("Cancel", visible=False, elem_id=f"{key}-cancel")
    said = gr.Markdown(elem_classes="v-caption", elem_id=f"{key}-said")
    plot = gr.Plot(show_label=False, container=False, visible=False, elem_id=f"{key}-plot")
    made = gr.File(label="What it made", visible=False)
    kept = gr.BrowserState("", storage_key=f"vitrine-{key}", secret=key)
    return JobView(cost, start, cancel, said, plot, made, kept, gr.State(""))


def wire(
    view: JobView, order: Callable[..., Order], inputs: Sequence[gr.components.Component], story: Story,
    check: Callable[..., list[Any]],
) -> None:  # fmt: skip
    """Connect the parts; `check` validates the inputs."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}

    @guarded
    def begin(request: gr.Request, *values: Any) -> str:
        return jobs().submit(order(request, *values))

    @guarded
    def end(ident: str) -> None:
        jobs().cancel(ident)

    view.start.click(begin, list(inputs), view.kept, validator=check, concurrency_limit=None, **quiet)
    view.kept.change(_found, view.kept, view.watched, concurrency_limit=None, **quiet)  # also when a page is loaded
    drawn = [view.cancel, view.said, view.plot, view.made]
    watch = guarded(functools.partial(_watch, story))
    view.watched.change(watch, view.watched, drawn, concurrency_limit=None, **quiet)
    view.cancel.click(end, view.watched, None, concurrency_limit=None, **quiet)


def _found(kept: Any) -> str:
    """The id that a page has kept, if there still is such a job."""
    try:
        return jobs().find(kept).id if isinstance(kept, str) and kept else ""
    except UserError:
        return ""


async def _watch(story: Story, ident: str) -> AsyncIterator[list[Any]]:
    """No thread waits with it: the event loop looks now and then."""
    if not ident:
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
    return story(job, jobs().events(job.id))


def _served(path: Path) -> str:
    """A copy where Gradio may serve it from."""
    copy = Path(get_upload_folder()) / path.parent.name / path.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, copy)
    return str(copy)


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
