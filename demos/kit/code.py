"""The same view in code: the command line, Python over HTTP, plain HTTP, and an MCP tool's arguments."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import LocalContext
from gradio.route_utils import get_root_url
from pydantic import BaseModel

from demos.kit.exhibit import Exhibit, View
from demos.kit.panel import row

if TYPE_CHECKING:
    from demos.kit.frame import Frame


def place(frame: Frame) -> gr.Markdown:
    """The closed row with the calls."""
    with row("The same in code", "command line, Python, HTTP and MCP calls for this view", f"{frame.key}-code"):
        return gr.Markdown(elem_classes="v-code", elem_id=f"{frame.key}-calls")


def flags(model: type[BaseModel], values: Mapping[str, Any]) -> list[str]:
    """Values as options of a command line that pydantic-settings makes from the same model."""
    arguments = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if model.model_fields[name].annotation is bool:
            arguments.append(option if value else f"--no-{option.removeprefix('--')}")
        else:
            arguments += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return arguments


def command(exhibit: Exhibit, view: View) -> str:
    """`python -m backends.soco --quick --removed 41`: only what is not at its default is named."""
    words = ["python", "-m", *exhibit.command, *flags(exhibit.settings, exhibit.changed(view.settings))]
    given = [one.flag for one in exhibit.inputs if one.used(view.settings)]
    return " ".join([shlex.join(words), *given])


def arguments(exhibit: Exhibit, view: View) -> dict[str, Any]:
    """The endpoint's arguments: only what is not at its default, and the inputs that matter."""
    inputs = {one.name: view.inputs.get(one.name, "") for one in exhibit.inputs if one.used(view.settings)}
    return exhibit.changed(view.settings) | inputs


def calls(exhibit: Exhibit, view: View) -> str:
    """Four ways, as Markdown."""
    root = address()
    asked = {name: _short(value) for name, value in arguments(exhibit, view).items()}
    keywords = "".join(f"{name}={value!r}, " for name, value in asked.items())
    python = (
        f'from gradio_client import Client\n\nvitrine = Client("{root}", verbose=False)\n'
        f'answer = vitrine.predict({keywords}api_name="/{exhibit.key}")\n'
        'print(answer["summary"])'
    )
    body = shlex.quote(json.dumps(asked, ensure_ascii=False))
    endpoint = f"{root}/gradio_api/call/v2/{exhibit.key}"
    http = (
        f'EVENT=$(curl -s {endpoint} -H "Content-Type: application/json" -d {body} | cut -d\'"\' -f4)\n'
        f"curl -s {endpoint}/$EVENT"
    )
    tool = json.dumps({"name": exhibit.key, "arguments": asked}, indent=2, ensure_ascii=False)
    return "\n\n".join([
        "Command line", _block("bash", command(exhibit, view)),
        "Python, with `pip install gradio_client`", _block("python", python),
        "HTTP", _block("bash", http),
        f"MCP: a tool of the server `{root}/gradio_api/mcp/`", _block("json", tool),
    ])  # fmt: skip


def address() -> str:
    """Where the visitor whose event this is reaches this server, also behind a proxy."""
    request = LocalContext.request.get(None)
    inner = request.request if request else None
    if inner is None:
        return "http://127.0.0.1:7860"
    return get_root_url(request=inner, route_path=inner.url.path, root_path=None).rstrip("/")


def _short(value: Any) -> Any:
    """A long text is not printed whole."""
    return f"{value[:60]}…" if isinstance(value, str) and len(value) > 200 else value


def _block(language: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
