"""What a panel is, and what it promises to the shell.

A panel is one module in demos/ that exports `PANEL`; demos/__init__.py names it in `PANELS`. Most are made by the frame
(demos/kit/frame.py); what is told here is what the frame itself keeps to.

The shell writes title, paper and question above what `build` places, so `build` starts with the controls. Nothing is
computed while building: figures start empty. `Built.first` is called once per session, when the tab is first shown,
with the settings of the link if it names the panel (`?tab=soco&removed=40` hands over `{"removed": "40"}`), else with
`{}`. It returns one value per output, is no generator, and is already guarded; if it fails, the next showing tries
again. `warm` runs in a background thread once the port answers. The css classes are listed in assets/style.css.
"""

from __future__ import annotations

import functools
import html
import inspect
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from backends.runtime.errors import UserError
from backends.runtime.gently import apart, waited_for

GROUPS = ("Compress", "Adapt", "Recommend", "Know", "Draw")
Query = Mapping[str, str]
# For every event. Gradio counts the seconds of each component on which progress is shown, frame by frame, even where it
# is hidden, and from its first event on copies all that such a component holds whenever anything in the page happens.
QUIET: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
log = logging.getLogger("vitrine")


@dataclass(frozen=True)
class AppContext:
    """What the app was started with; the same for every visitor."""

    device: str = "auto"
    offline: bool = False
    models: Path | None = None

    @property
    def flags(self) -> list[str]:
        """The same for a method's command line."""
        said = ["--device", self.device, *(["--models", str(self.models)] if self.models else [])]
        return said + (["--offline"] if self.offline else [])


@dataclass(frozen=True)
class Built:
    """What fills a panel when it is first opened: `first(query, *values of inputs)` gives one value per output.

    `left` is told when a visitor's page is closed.
    """

    first: Callable[..., Sequence[Any]]
    outputs: Sequence[gr.components.Component]
    inputs: Sequence[gr.components.Component] = ()
    left: Callable[[gr.Request], object] | None = None


@dataclass(frozen=True)
class Panel:
    """One method behind glass. `paper` is an arXiv id ("2502.15092") or a short citation."""

    key: str
    title: str
    group: str
    paper: str
    question: str
    build: Callable[[AppContext], Built]
    warm: Callable[[AppContext], None] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.key) or self.key == "home":
            raise ValueError(f"A panel's key is a short lower-case word other than 'home', not {self.key!r}.")
        if self.group not in GROUPS:
            raise ValueError(f"Panel {self.key!r} is in no group of {', '.join(GROUPS)}: {self.group!r}.")

    @property
    def arxiv(self) -> str | None:
        """The address of the paper, if `paper` is an arXiv id."""
        return f"https://arxiv.org/abs/{self.paper}" if re.fullmatch(r"\d{4}\.\d{4,5}", self.paper) else None

    @property
    def paper_label(self) -> str:
        """`paper` as it is shown: "arXiv 2502.15092", or the citation."""
        return f"arXiv {self.paper}" if self.arxiv else self.paper


def heading(panel: Panel) -> gr.HTML:
    """Title, paper and question, as every panel begins."""
    label = html.escape(panel.paper_label)
    if panel.arxiv:
        label = f'<a class="v-paper" href="{panel.arxiv}" target="_blank" rel="noopener">{label}</a>'
    else:
        label = f'<span class="v-paper">{label}</span>'
    return gr.HTML(
        f'<div class="v-panel-title"><h1>{html.escape(panel.title)}</h1>{label}</div>'
        f'<p class="v-question">{html.escape(panel.question)}</p>',
        elem_classes="v-heading",
        js_on_load=None,
    )


@contextmanager
def row(title: str, promise: str, ident: str | None = None) -> Iterator[gr.Accordion]:
    """A closed row with a one-line promise at its right: everything that is not the main view."""
    with gr.Column(elem_classes="v-row", elem_id=ident):
        gr.HTML(f'<p class="v-promise">{html.escape(promise)}</p>', elem_classes="v-row-promise", js_on_load=None)
        with gr.Accordion(title, open=False) as accordion:
            yield accordion


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same handler, but a visitor reads one sentence: a UserError's own, or "internal error" with the log's id.

    Background work stands still while a plain handler runs; a generator counts as background itself.
    """
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def stream_async(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with _one_sentence(function):
                async for item in function(*args, **kwargs):
                    yield item

        return stream_async

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with _one_sentence(function):
                yield from function(*args, **kwargs)

        return stream

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with waited_for(), _one_sentence(function):
            return apart(functools.partial(function, *args, **kwargs))

    return call


@contextmanager
def _one_sentence(function: Callable[..., Any]) -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except Exception as error:
        ident = secrets.token_hex(4)
        log.exception("internal error %s in %s", ident, getattr(function, "__qualname__", function))
        raise gr.Error(f"Internal error, id {ident}.", print_exception=False) from error
