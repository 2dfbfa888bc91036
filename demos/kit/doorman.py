"""Requests that Gradio stumbles over get an answer that says so, not "Internal Server Error"."""

from __future__ import annotations

import errno
import logging

from gradio.route_utils import FnIndexInferError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUTES = ("/gradio_api/", "/static/")
# Gradio's own, which no page of ours asks for: they fetch addresses, hand a stranger's video to ffmpeg, and write pages
# down (sessions.py keeps none).
CLOSED = ("/gradio_api/proxy=", "/gradio_api/process_recording", "/gradio_api/deep_link")
UNKNOWN = "There is no such endpoint: /gradio_api/info lists them."
UNCLEAR = "This request is not understood: /gradio_api/info lists the endpoints and their arguments."
log = logging.getLogger("vitrine")


class Doorman:
    """ASGI middleware around Gradio's own routes.

    What a method's function raises never comes here, Gradio makes an event of it; what does come is raised while a
    request is read: a name that no endpoint has, arguments that it does not take, JSON that is nested too deeply.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or not any(route in scope["path"] for route in ROUTES):
            await self.app(scope, receive, send)
            return
        if any(route in scope["path"] for route in CLOSED):
            await JSONResponse({"detail": UNKNOWN}, 404)(scope, receive, send)
            return
        answering, refused = False, False

        async def heard(message: Message) -> None:
            nonlocal answering, refused
            if message["type"] == "http.response.start":
                refused = message["status"] == 400  # Gradio's own words name its inner parts
                answering = not refused
            if not refused:
                await send(message)

        sentence, status = (UNCLEAR, 422) if scope["method"] == "POST" else (UNKNOWN, 404)
        try:
            await self.app(scope, receive, heard)
            if not refused:
                return
        except (FnIndexInferError, LookupError, TypeError, ValueError, RecursionError) as error:
            if answering:
                raise
            log.info("request to %r is not understood: %s", scope["path"][:100], type(error).__name__)
            if isinstance(error, FnIndexInferError | LookupError):
                sentence, status = UNKNOWN, 404
        except OSError as error:
            if answering or error.errno != errno.ENAMETOOLONG:
                raise
            sentence, status = UNKNOWN, 404
        await JSONResponse({"detail": sentence}, status)(scope, receive, send)
