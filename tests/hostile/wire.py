"""A visitor who sends anything at all, and what every answer keeps to, whatever was sent."""

from __future__ import annotations

import itertools
import json
import re
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil

from tests.conftest import PATIENCE, ROOT

JSON = {"Content-Type": "application/json"}
INNER = ("Traceback", 'File "', "site-packages", f"{ROOT}/", f"{Path.home()}/", sysconfig.get_path("stdlib"))
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")
PLAIN = re.compile(r"[A-Z“][^\n\r]{8,300}")
_SESSIONS = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What came back. An event's is that of its stream; `said` are the sentences of a refusal."""

    status: int
    text: str

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events."""
        return [_strict(line[6:]) for line in self.text.splitlines() if line.startswith("data: ")]

    @property
    def outcome(self) -> dict[str, Any]:
        """A queued event's last message: its "data", or an "error" that may be None."""
        if self.status != 200:
            return {}
        last = [one for one in self.events if not isinstance(one, dict) or one.get("msg") != "close_stream"][-1]
        if not isinstance(last, dict):
            return {"data": last}
        return last.get("output", last)

    @property
    def said(self) -> list[str | None]:
        if self.status == 200:
            return [self.outcome["error"]] if "error" in self.outcome else []
        try:
            body = _strict(self.text)
        except ValueError:
            return [self.text]
        detail = body["detail"] if "detail" in body else body["error"]["message"]
        parts = detail if isinstance(detail, list) else [{"msg": detail}]
        return [one.get("message", one.get("msg")) for one in parts if not one.get("is_valid")]

    @property
    def data(self) -> Any:
        """What an event gave, or None."""
        return self.outcome.get("data")

    @property
    def fault(self) -> str:
        """Why this is neither a proper answer nor a refusal in plain sentences; "" if it is one of them."""
        if self.status >= 500 or 200 < self.status < 400:
            return f"{self.status}: {self.text[:200]}"
        wrong = [one for one in self.said if one is None or not PLAIN.fullmatch(one) or "Internal error" in one]
        if wrong or not (self.said or self.data is not None):
            return f"{self.status}: {str(wrong)[:200] or self.text[:200]}"
        return ""

    @property
    def refused(self) -> str:
        """As `fault`, for what has to be refused before it is queued."""
        return self.fault or ("" if 400 <= self.status < 500 else f"not refused: {self.text[-200:]}")


def _strict(text: str) -> Any:
    """JSON as a browser reads it: without NaN."""

    def never(constant: str) -> None:
        raise AssertionError(f"the answer holds {constant}")

    return json.loads(text, parse_constant=never)


class Visitor:
    """The endpoints of a running app, as it lists them itself; each answer is searched for what nobody should see."""

    def __init__(self, url: str) -> None:
        self.url, self.port = url, urlsplit(url).port
        self.http = httpx2.Client(base_url=url, timeout=60 * PATIENCE)
        self.public = self.http.get("/gradio_api/info").json()["named_endpoints"]
        self.tools = {tool["name"]: tool for tool in self.http.get("/gradio_api/mcp/schema").json()}
        config = self.http.get("/config").json()
        self.components = {one["id"]: one for one in config["components"]}
        self.events = [one for one in config["dependencies"] if one["backend_fn"]]
        self.private = [one for one in self.events if one["api_visibility"] == "private"]
        self.process = next(
            child for child in psutil.Process().children(recursive=True)
            if any(one.laddr.port == self.port and one.status == "LISTEN" for one in child.net_connections())
        )  # fmt: skip
        self.inner = (*INNER, self.process.environ()["VITRINE_CACHE"])

    def parameters(self, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
        """(endpoint, parameter) of every public endpoint, by the parameter's JSON type, or "enum"."""
        return [
            (name.strip("/"), one) for name, endpoint in self.public.items() for one in endpoint["parameters"]
            if one["type"].get("type", "enum") in kinds
        ]  # fmt: skip

    def ask(self, method: str, path: str, content: bytes | str | None = None, **headers: str) -> Answer:
        """One request, and its answer if that shows nothing of the inside."""
        got = self.http.request(method, path, content=content, headers=headers)
        return self.seen(Answer(got.status_code, got.text), path)

    def seen(self, answer: Answer, path: str) -> Answer:
        """The same answer, if it shows nothing that was not in the request's own address."""
        shown = [part for part in (*self.inner, *ADDRESS.findall(answer.text)) if part in answer.text]
        shown = [part for part in shown if part not in path]
        assert not shown, f"the answer shows {shown}: {answer.text[:300]}"
        return answer

    def post(self, path: str, body: str) -> Answer:
        return self.ask("POST", f"/gradio_api/{path}", body.encode(), **JSON)

    def call(self, name: str, body: str, door: str = "call/v2") -> Answer:
        """A public endpoint's answer to a JSON text, as curl gets it."""
        joined = self.post(f"{door}/{name}", body)
        if joined.status != 200:
            return joined
        return self.ask("GET", f"/gradio_api/{door}/{name}/{_strict(joined.text)['event_id']}")

    def event(self, number: int, data: str, event_data: str = "null", query: str = "") -> Answer:
        """What the page's script gets for an event, from JSON texts; query: that of the page's address."""
        session = f"hostile-{next(_SESSIONS)}"
        body = f'{{"fn_index": {number}, "data": {data}, "event_data": {event_data}, "session_hash": "{session}"}}'
        joined = self.post(f"queue/join?{query}", body)
        if joined.status != 200:
            return joined
        return self.ask("GET", f"/gradio_api/queue/data?session_hash={session}")

    def drop(self, number: int, content: bytes, name: str) -> Answer:
        """A file uploaded, and given to an event that takes one."""
        sent = self.http.post("/gradio_api/upload", files={"files": (name, content)})
        assert sent.status_code == 200, sent.text
        return self.event(number, json.dumps([file(sent.json()[0])]))

    def proper(self, name: str) -> str:
        """The sentence that a public endpoint answers to its defaults."""
        return self.call(name.strip("/"), "{}").data[0]["summary"]

    def named(self, ending: str) -> dict[int, str]:
        """The components whose name ends so: "soco-restore"."""
        names = {key: str(one["props"].get("elem_id")) for key, one in self.components.items()}
        return {key: name for key, name in names.items() if name.endswith(ending)}

    def on(self, ending: str) -> dict[str, dict[str, Any]]:
        """The event of every component whose name ends so."""
        names = self.named(ending)
        return {names[target]: one for one in self.events for target, _ in one["targets"] if target in names}

    def slight(self, event: dict[str, Any]) -> bool:
        """Whether it sends nothing, or is a stand-in's without an endpoint: those check nothing."""
        keys = {name.removeprefix("tab-") for name in self.named("").values() if name.startswith("tab-")}
        bare = tuple(f"{key}-" for key in keys if f"/{key}" not in self.public)
        return not event["inputs"] or any(self.named("")[one].startswith(bare) for one in event["inputs"])

    def memory(self) -> float:
        """MB that the server holds."""
        return self.process.memory_info().rss / 2**20


def file(path: str) -> dict[str, Any]:
    """A file as the page's script names it to an event."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def faults(cases: Mapping[str, Callable[[], str]] | Iterable[tuple[str, Callable[[], str]]]) -> dict[str, str]:
    """Four cases at a time; what was wrong, by the case's name."""

    def tried(case: Callable[[], str]) -> str:
        try:
            return case()
        except (AssertionError, httpx2.HTTPError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    named = dict(cases)
    with ThreadPoolExecutor(4) as pool:
        return {name: wrong for name, wrong in zip(named, pool.map(tried, named.values()), strict=True) if wrong}
