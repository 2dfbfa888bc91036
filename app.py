"""The front door: what the app is started with, the page made of demos.PANELS, and the server around it.

    python app.py [--host H] [--port P] [--device auto|cuda|mps|cpu] [--offline] [--models DIR] [--panels a,b] [--share]

torch is imported by nothing here: a background thread warms it, and the panels' models, once the port answers.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from backends.runtime.device import CHOICES, choose_device, limit_memory, limit_threads
from backends.runtime.errors import UserError
from backends.runtime.imports import heavy, uncollected

if TYPE_CHECKING:
    import gradio as gr
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    from demos.kit.panel import AppContext, Panel

VERSION = "0.1.0"
# api_open: calls go through the queue, as they do on a Space, so that its limits and validators hold for everybody
# status_update_rate: a place in the queue is told once an hour, not to everybody at everybody's event
QUEUE: dict[str, Any] = {
    "max_size": 64, "default_concurrency_limit": 2, "api_open": False, "status_update_rate": 3600,
}  # fmt: skip
SERVING: dict[str, Any] = {
    "max_file_size": "20mb",
    "max_threads": 8,
    "show_error": False,
    "run_history": False,
    "enable_monitoring": False,
    "ssr_mode": False,
    "pwa": False,
    "mcp_server": True,  # every public endpoint is also an MCP tool
    "state_session_capacity": 1000,
}
LARGEST_PICTURE = 16_000_000  # pixels; Pillow's own limit lets a 9 KB file unpack to 243 MB
log = logging.getLogger("vitrine")


class Parser(argparse.ArgumentParser):
    """argparse that says what is wrong in one sentence, without the usage lines."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message[:1].upper()}{message[1:].rstrip('.')}.\n")


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(prog="app.py", description="Vitrine: published methods behind glass.", allow_abbrev=False)
    add, env = parser.add_argument, os.environ.get
    add("--host", default=env("GRADIO_SERVER_NAME", "127.0.0.1"), help="address to serve (default %(default)s)")
    add("--port", type=int, default=env("GRADIO_SERVER_PORT", "7860"), help="port to serve (default %(default)s)")
    add("--device", default="auto", help=f"{', '.join(CHOICES)}, or one of several: cuda:1 (default %(default)s)")
    add("--offline", action="store_true", help="never ask the network for anything")
    add("--models", type=Path, metavar="DIR", help="folder with models of your own")
    add("--panels", metavar="KEY,KEY", help="only these panels")
    add("--share", action="store_true", help="a public link through Gradio's servers")
    return parser


def check(options: argparse.Namespace) -> None:
    """Refuse what cannot be, in one sentence. Raises UserError."""
    if not 1 <= options.port <= 65535:
        raise UserError(f"--port {options.port} is not between 1 and 65535.")
    if options.models is not None and not options.models.is_dir():
        raise UserError(f"--models {options.models} is not a folder.")
    if options.panels is not None and not options.panels.strip(" ,"):
        raise UserError("--panels names no panel: leave it out for all of them.")
    if options.share and options.offline:
        raise UserError("--share needs the network, which --offline forbids: choose one.")
    if options.device not in ("auto", "cpu"):  # only these two are certain without asking torch
        choose_device(options.device)


def check_port(host: str, port: int) -> None:
    """Raises UserError if nothing can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            why = error.strerror or str(error)
            raise UserError(f"Cannot serve on {host}, port {port} ({why}): choose another with --port.") from error


def prepare(options: argparse.Namespace) -> tuple[list[Panel], AppContext, gr.Blocks]:
    """The page, not yet served. The environment is set before gradio or a hub client is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    limit_memory()
    if options.offline:
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    from PIL import Image

    from demos import load_panels
    from demos.kit.page import build_page
    from demos.kit.panel import AppContext

    Image.MAX_IMAGE_PIXELS = LARGEST_PICTURE
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    keys = None if options.panels is None else [key.strip() for key in options.panels.split(",") if key.strip()]
    panels = load_panels(keys)
    context = AppContext(device=options.device, offline=options.offline, models=options.models)
    page = build_page(panels, context)
    page.queue(**QUEUE)
    return panels, context, page


class House:
    """The running app: it warms up, says how it is, and closes."""

    def __init__(self, panels: list[Panel], context: AppContext, page: gr.Blocks) -> None:
        self.panels, self.context, self.page = panels, context, page
        self.warm = threading.Event()
        self.cold: list[str] = []  # panels whose models could not be warmed; the log says why

    def health(self, request: Request) -> JSONResponse:
        """GET /health: `warm` once the background thread is done; "degraded" if a panel's models did not load."""
        from starlette.responses import JSONResponse

        status = "degraded" if self.cold else "ok"
        return JSONResponse({"status": status, "warm": self.warm.is_set(), "version": VERSION})

    def warm_up(self) -> None:
        """Import torch and load the panels' models, so that the first visitor does not wait for them."""
        from demos.kit.assets import compress_all

        threading.Thread(target=compress_all, name="compress", daemon=True).start()  # Brotli keeps no lock
        heavy("torch")
        limit_threads()
        for panel in self.panels:
            try:
                if panel.warm is not None:
                    panel.warm(self.context)
            except UserError as error:  # one panel's missing model must not keep the others cold
                log.error("panel %s could not be warmed: %s", panel.key, error)
                self.cold.append(panel.key)
            except Exception:
                log.exception("panel %s could not be warmed", panel.key)
                self.cold.append(panel.key)
        gc.freeze()  # modules and models stay: no search for garbage goes through them again
        self.warm.set()

    def open(self, host: str, port: int, share: bool) -> None:
        """Serve until the process is told to end."""
        from starlette.middleware import Middleware
        from starlette.routing import Mount, Route

        from demos.kit.assets import Assets
        from demos.kit.attention import Attention
        from demos.kit.doorman import Doorman
        from demos.kit.look import LAUNCH
        from demos.kit.sessions import keep_little

        server = {
            "routes": [Route("/health", self.health), Mount("/assets", Assets())],
            "middleware": [Middleware(Doorman), Middleware(Attention)],
        }
        self.page.launch(server_name=host, server_port=port, share=share, prevent_thread_lock=True, quiet=True,
                         app_kwargs=server, **LAUNCH, **SERVING)  # fmt: skip
        keep_little(self.page)
        print(f"Vitrine is at {self.page.share_url or self.page.local_url}", flush=True)
        threading.Thread(target=self.warm_up, name="warm-up", daemon=True).start()
        threading.Event().wait()

    def close(self) -> NoReturn:
        """Stop serving and end the process: at once where nobody waits, after two seconds where a page is still open.

        Ends without Python's own farewell: a computation in a daemon thread would make the interpreter abort there.
        """
        if server := getattr(self.page, "server", None):
            server.should_exit = True
            server.thread.join(1.5)
            logging.getLogger("uvicorn.error").disabled = True  # what is cut off now is cut off on purpose
            server.force_exit = True
            server.thread.join(0.5)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def leave(*_: object) -> NoReturn:
    """SIGTERM and SIGINT: unwind from wherever the main thread is, with exit code 0."""
    raise SystemExit(0)


def start(argv: list[str], serving: bool) -> tuple[argparse.Namespace, House]:
    """Options checked and page built; one sentence and exit code 2 for what a person can mend."""
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        check(options)
        if serving:
            check_port(options.host, options.port)
        with uncollected():
            return options, House(*prepare(options))
    except UserError as error:
        parser.error(str(error))


MAIN = __name__ == "__main__"
if MAIN:
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
OPTIONS, HOUSE = start(sys.argv[1:] if MAIN else [], serving=MAIN)
demo = HOUSE.page  # a Space looks for this name
if MAIN:
    try:
        HOUSE.open(OPTIONS.host, OPTIONS.port, OPTIONS.share)
    except SystemExit:
        HOUSE.close()
