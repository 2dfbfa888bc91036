"""Requests are answered before background work goes on."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from backends.runtime.gently import waited_for

# Held open while a page is, or asked for again and again by a monitor: nobody waits for these.
PASSED = ("/heartbeat/", "/queue/data", "/health")


class Attention:
    """ASGI middleware: while a request is being answered, and a moment longer, work that gives way stands still."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or any(part in scope["path"] for part in PASSED):
            await self.app(scope, receive, send)
            return
        with waited_for():
            await self.app(scope, receive, send)
