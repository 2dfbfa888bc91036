"""What the frame must be told about a method. From it come the twelve parts that every panel has; see kit/frame.py.

An exhibit names the method's Settings, the function that answers them, and how an answer is drawn. `answer` is the one
function behind the control, the HTTP endpoint and the MCP tool; the command line calls the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import plotly.graph_objects as go
from pydantic import BaseModel

from demos.kit.panel import AppContext


class Result(Protocol):
    """What a method answers: plain numbers, and the sentences that say them."""

    def summary(self) -> str:
        """One sentence with the numbers in it."""

    def protocol(self) -> str:
        """How it was measured, in one line."""

    def facts(self) -> dict[str, Any]:
        """Every number, as JSON; the answer of the HTTP endpoint."""

    def against(self, pinned: Any) -> str:
        """How this result differs from a pinned one, in words."""


@dataclass(frozen=True)
class View:
    """What was asked for: settings, and inputs too large for settings (name: text)."""

    settings: Any
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pinned:
    """A view that was frozen as A, with its result."""

    view: View
    result: Any


@dataclass(frozen=True)
class Input:
    """Something that is no setting, such as a text.

    flag: how the command line is given it; used: whether settings need it; otherwise: settings that do not; again: what
    to do where it is missing.
    """

    name: str
    title: str
    flag: str
    used: Callable[[Any], bool]
    otherwise: Mapping[str, Any]
    again: str


@dataclass(frozen=True)
class Question:
    """The guided path's last step. right: index of the right choice; because: said after an answer."""

    text: str
    choices: Sequence[str]
    right: int
    because: str


@dataclass(frozen=True)
class Guide:
    """Predict a number, move to where it is measured, read why, answer one question.

    moves: the settings that are measured; number: what was to be predicted, off a result.
    """

    predict: str
    unit: str
    moves: Mapping[str, Any]
    number: Callable[[Any], float]
    explain: Callable[[Any], str]
    check: Question


@dataclass(frozen=True)
class Item:
    """One of many outputs.

    body: HTML, escaped; metrics: what they are sorted by; settings: the view that it opens; colour: its method's.
    """

    title: str
    body: str
    metrics: Mapping[str, float]
    settings: Mapping[str, Any]
    colour: str = ""


@dataclass(frozen=True)
class Gallery:
    """Many outputs at once. items: made one by one; count: how many there will be; seconds: what one takes here."""

    promise: str
    items: Callable[[AppContext, View], Iterator[Item]]
    count: int
    seconds: Callable[[AppContext], float]


@dataclass(frozen=True)
class Upload:
    """A file that a task needs. ending: of its name; most: bytes; check: what is in it, in words; raises UserError."""

    label: str
    ending: str
    most: int
    check: Callable[[AppContext, Path], str]


@dataclass(frozen=True)
class Task:
    """Work of more than a few seconds: the command line `module`, run as a job.

    asks: the command's settings for a view, from the values of `extra`, the fields that are chosen beside it (name:
    choices); raises UserError where there is nothing to run. options: further arguments, from the path of the upload if
    there is one; seconds: what it will take; story: figure, sentence and files of what the job has told so far, from
    its folder. ident: what the row is called in the page.
    """

    title: str
    promise: str
    label: str
    module: str
    settings: type[BaseModel]
    asks: Callable[..., BaseModel]
    describe: Callable[[Any], str]
    options: Callable[[AppContext, View, Path | None], Sequence[str]]
    seconds: Callable[[AppContext, Any], float]
    story: Callable[[Any, list[dict[str, Any]], Path], tuple[go.Figure | None, str, list[Path]]]
    extra: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    upload: Upload | None = None
    ident: str = "job"


@dataclass(frozen=True)
class Exhibit:
    """A method, as the frame needs it.

    controls: the settings in the narrow column; every other one goes to the closed row of the rest. labels: words for
    the choices of a setting. choices: those of a setting whose choices depend on the model. preview: figure, sentence
    and note while the model is not loaded, or None once it is. table: rows of the CSV. words: the
    panel's words and what they mean. files: further downloads, (context, view, path, metadata) -> None, by ending.
    """

    key: str
    settings: type[BaseModel]
    controls: Sequence[str]
    answer: Callable[[AppContext, View], Result]
    draw: Callable[[Any, Pinned | None], go.Figure]
    formula: Callable[[Any], str]
    table: Callable[[Any, Pinned | None], Sequence[Mapping[str, Any]]]
    command: Sequence[str]
    what: str
    notes: str
    guide: Guide
    gallery: Gallery
    task: Task | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    remark: Callable[[Any], str] = lambda result: ""
    protocol: Callable[[Any], str] = lambda result: result.protocol()
    inputs: Sequence[Input] = ()
    labels: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    preview: Callable[[AppContext, View], tuple[go.Figure | None, str, str] | None] = lambda context, view: None
    files: Mapping[str, Callable[[AppContext, View, Path, dict[str, str]], None]] = field(default_factory=dict)
    model: Callable[[AppContext], str] = lambda context: ""

    @property
    def allowed(self) -> dict[str, Sequence[Any]]:
        """The choices that a link has to keep to; into a text's dropdown one can write."""
        return {name: c for name, c in self.choices.items() if self.settings.model_fields[name].annotation is not str}

    def changed(self, settings: BaseModel, *always: str) -> dict[str, Any]:
        """The settings that are not at their defaults, and those that are always named."""
        usual = self.settings.model_fields
        values = {name: plainly(value) for name, value in settings.model_dump().items()}
        return {name: value for name, value in values.items() if name in always or value != usual[name].default}

    def travels(self, view: View) -> list[Input]:
        """The inputs of a view that do not fit into a link."""
        return [one for one in self.inputs if one.used(view.settings) and view.inputs.get(one.name)]


def plainly(value: Any) -> Any:
    """60 instead of 60.0: as a person would write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
