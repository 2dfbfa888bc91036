"""Every public endpoint, as the running app lists them, given what nobody should send: a new panel is covered."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from tests.hostile.wire import Answer, Visitor, faults

NEVER = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "null", '"5"', '""', "[]", "[1]", "true", "{}", "5e-324"]
NEVER += ["1" + "0" * 400, "1" + "0" * 5000]
RANGE = re.compile(r"From (\S+) to (\S+) in steps of (\S+)\.$")
TEXTS = {
    "nothing": "",
    "one byte": "a",
    "20 MB": "a" * 20_000_000,
    "a million words": "word " * 10**6,
    "NUL": "a\0b " * 500,
    "half a character": "\ud800 and more words " * 100,
    "right to left": "\u202eשלום עולם مرحبا " * 100,
    "emoji": "👩‍🚀😀 " * 200,
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)> " * 40,
    "handlebars": "{{7*7}} {{constructor}} " * 100,
    "template": "${alert(1)} `id` $(id) " * 100,
}
HUGE = ("20 MB", "a million words")


def given(name: str, value: Any) -> str:
    return json.dumps({name: value})


def settings_at(visitor: Visitor, endpoint: str, choice: int) -> dict[str, Any]:
    """Each of an endpoint's choices at the one of that number."""
    return {
        one["parameter_name"]: one["type"]["enum"][choice] for name, one in visitor.parameters("enum")
        if name == endpoint
    }  # fmt: skip


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NEVER, ids=lambda value: value[:9])
def test_what_is_no_number_is_refused(visitor: Visitor, value: str) -> None:
    def case(endpoint: str, name: str) -> Any:
        return lambda: visitor.call(endpoint, f'{{"{name}": {value}}}').refused

    numbers = [(endpoint, one["parameter_name"]) for endpoint, one in visitor.parameters("number", "integer")]
    assert numbers
    assert faults((f"/{endpoint} {name}", case(endpoint, name)) for endpoint, name in numbers) == {}


@pytest.mark.parametrize("where", ["below", "above", "between"])
def test_a_number_out_of_the_range_that_is_published_is_refused(visitor: Visitor, where: str) -> None:
    def case(endpoint: str, name: str) -> Any:
        said = visitor.tools[endpoint]["inputSchema"]["properties"][name]["description"]
        low, high, step = map(float, RANGE.search(said).groups())
        value = {"below": low - step, "above": high + step, "between": low + 0.37 * step}[where]
        return lambda: visitor.call(endpoint, given(name, value)).refused

    numbers = [(endpoint, one["parameter_name"]) for endpoint, one in visitor.parameters("number", "integer")]
    assert faults((f"/{endpoint} {name}", case(endpoint, name)) for endpoint, name in numbers) == {}


@pytest.mark.parametrize("value", ["-1", "1e18", "0.1234567", "-0.0"])
def test_an_odd_number_is_answered_or_refused(visitor: Visitor, value: str) -> None:
    def case(endpoint: str, name: str) -> Any:
        return lambda: visitor.call(endpoint, f'{{"{name}": {value}}}').fault

    numbers = [(endpoint, one["parameter_name"]) for endpoint, one in visitor.parameters("number", "integer")]
    assert faults((f"/{endpoint} {name}", case(endpoint, name)) for endpoint, name in numbers) == {}


# ---- choices and texts -----------------------------------------------------------------------------------------------


CHOICES = {"unknown": "nonsense", "empty": "", "number": 5, "list": ["soco"], "object": {}, "null": None, "true": True}
CHOICES |= {"NaN": float("nan"), "NUL": "a\0", "half a character": "\ud800", "a megabyte": "x" * 2**20}


@pytest.mark.parametrize("value", CHOICES)
def test_what_is_no_choice_is_refused(visitor: Visitor, value: str) -> None:
    def case(endpoint: str, name: str) -> Any:
        return lambda: visitor.call(endpoint, given(name, CHOICES[value])).refused

    choices = [(endpoint, one["parameter_name"]) for endpoint, one in visitor.parameters("enum")]
    assert choices
    assert faults((f"/{endpoint} {name}", case(endpoint, name)) for endpoint, name in choices) == {}


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_answered_or_refused(visitor: Visitor, text: str) -> None:
    """With the usual choices, and with the last ones, where a text may be asked for."""

    def case(endpoint: str, name: str, others: dict[str, Any]) -> Any:
        return lambda: visitor.call(endpoint, json.dumps(others | {name: TEXTS[text]})).fault

    cases = {
        f"/{endpoint} {one['parameter_name']}, {others}": case(endpoint, one["parameter_name"], others)
        for endpoint, one in visitor.parameters("string") for others in ({}, settings_at(visitor, endpoint, -1))
    }  # fmt: skip
    assert faults(cases) == {}


def test_what_is_no_text_is_answered_or_refused(visitor: Visitor) -> None:
    def case(endpoint: str, name: str, value: Any) -> Any:
        return lambda: visitor.call(endpoint, given(name, value)).fault

    cases = {
        f"/{endpoint} {one['parameter_name']}: {value}": case(endpoint, one["parameter_name"], value)
        for endpoint, one in visitor.parameters("string") for value in (None, 5, float("nan"), [], {"a": "b"}, True)
    }  # fmt: skip
    assert faults(cases) == {}


def test_huge_texts_leave_no_memory_behind(visitor: Visitor) -> None:
    def send() -> float:
        for endpoint, one in visitor.parameters("string", "enum"):
            for text in HUGE:
                others = settings_at(visitor, endpoint, -1)
                assert not visitor.call(endpoint, json.dumps(others | {one["parameter_name"]: TEXTS[text]})).fault
        return visitor.memory()

    held = [send() for _ in range(3)]  # the first fills buffers; what the app warms up meanwhile grows once
    assert min(later - before for before, later in itertools.pairwise(held)) < 50, held


# ---- requests that are none ------------------------------------------------------------------------------------------


DOORS = ("call", "call/v2", "run", "api")
BODIES = {
    "no body": b"",
    "null": b"null",
    "a number": b"5",
    "a text": b'"x"',
    "a list": b"[1]",
    "half": b'{"data": [',
    "not unicode": b"\xff\xfe{}",
    "data is no list": b'{"data": {"a": 1}}',
    "data is a text": b'{"data": "x"}',
    "other names": b'{"nonsense": 1}',
    "no data": b'{"data": []}',
    "too little data": b'{"data": [null]}',
    "10 MB of lists": b'{"data": ' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"}",
    "10 MB of objects": b'{"data": [' + b'{"a":' * 1_666_666 + b"1" + b"}" * 1_666_666 + b"]}",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_none_is_refused(visitor: Visitor, body: str) -> None:
    def case(path: str) -> Any:
        return lambda: visitor.ask("POST", path, BODIES[body], **{"Content-Type": "application/json"}).refused

    paths = [f"/gradio_api/{door}/{name.strip('/')}" for door in DOORS for name in visitor.public]
    assert faults((path, case(path)) for path in [*paths, "/gradio_api/queue/join"]) == {}


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""])
def test_a_content_type_that_is_not_json_is_refused(visitor: Visitor, kind: str) -> None:
    body = '{"data": [], "fn_index": 0, "session_hash": "x"}'

    def case(path: str) -> Any:
        return lambda: visitor.ask("POST", path, body, **{"Content-Type": kind}).refused

    paths = [f"/gradio_api/{door}/{name.strip('/')}" for door in DOORS for name in visitor.public]
    assert faults((path, case(path)) for path in [*paths, "/gradio_api/queue/join"]) == {}


def test_the_number_of_arguments_matters(visitor: Visitor) -> None:
    """Gradio leaves out what is too much; it must not change the answer."""

    def case(name: str, values: list[Any]) -> Any:
        return lambda: visitor.call(name, json.dumps({"data": values}), "call").refused

    cases = {}
    for name, endpoint in visitor.public.items():
        values = [one["parameter_default"] for one in endpoint["parameters"]]
        cases |= {f"{name}, {n} of {len(values)}": case(name[1:], values[:n]) for n in range(len(values))}
        more = visitor.call(name[1:], json.dumps({"data": [*values, "more", None]}), "call")
        assert more.fault == "" and (more.status != 200 or more.data[0]["summary"] == visitor.proper(name))
    assert faults(cases) == {}


@pytest.mark.parametrize("name", ["nonsense", "%00", "..%2f..%2fapp", "soco%2f..", "%F0%9F%98%80", "x" * 3000])
def test_an_unknown_endpoint_is_refused(visitor: Visitor, name: str) -> None:
    def case(path: str) -> Any:
        return lambda: visitor.post(path, '{"data": []}').refused

    assert faults((door, case(f"{door}/{name}")) for door in DOORS) == {}


NUMBERS = ["1000000", "-1", "1e30", "1.5", '"abc"', "null", "[]", "{}", "NaN", "1" + "0" * 30]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:9])
def test_an_unknown_event_is_refused(visitor: Visitor, number: str) -> None:
    assert visitor.post("queue/join", f'{{"fn_index": {number}, "data": [], "session_hash": "x"}}').refused == ""


@pytest.mark.parametrize("session", ["null", "5", "[]", "{}", "true"])
def test_a_session_that_is_none_is_refused(visitor: Visitor, session: str) -> None:
    assert visitor.post("queue/join", f'{{"fn_index": 0, "data": [], "session_hash": {session}}}').refused == ""


BESIDE = ["cancel", "reset", "component_server", "upload", "process_recording", "stream/x", "run-history/connect"]
BESIDE += ["vibe-edit", "vibe-code", "vibe-starter-queries", "undo-vibe-edit", "mcp/", "deep_link", "info", "login"]
PARTS = [b"", b"{}", b"[]", b'{"data": 1, "component_id": 1000000, "session_hash": "x", "fn_name": "x"}']
PARTS += [b'{"data": 1, "component_id": {}, "session_hash": [], "fn_name": []}', b"[" * 100_000, b"\xff\0"]
HEADERS = ["application/json", "multipart/form-data", "multipart/form-data; boundary=x", ""]


@pytest.mark.parametrize("path", BESIDE)
def test_gradios_other_routes_do_not_break(visitor: Visitor, path: str) -> None:
    """An upload without files is answered, an empty list."""

    def case(part: bytes, kind: str) -> Any:
        def asked() -> str:
            answer = visitor.ask("POST", f"/gradio_api/{path}", part, **{"Content-Type": kind})
            return "" if answer == Answer(200, "[]") else answer.refused

        return asked

    assert faults((f"{kind} {part[:40]!r}", case(part, kind)) for part in PARTS for kind in HEADERS) == {}
