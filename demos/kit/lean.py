"""The page's description of itself, without what only the server reads.

Gradio writes every component's API schema into the page, three times, and its example; the page's own script asks
/info for schemas and never looks at these. With them a panel adds 170 KB to every page, without them 120 KB.
"""

from __future__ import annotations

from typing import Any

UNREAD = frozenset({"api_info", "api_info_as_input", "api_info_as_output", "example_inputs"})


def lean(config: Any) -> Any:
    """A page's configuration with lighter components; anything else as it is."""
    if not (isinstance(config, dict) and "components" in config):
        return config
    components = [{k: v for k, v in one.items() if k not in UNREAD} for one in config["components"]]
    return config | {"components": components}


def write_lean_pages() -> None:
    """From now on the pages that Gradio writes are lean; /config and /info, which clients read, stay whole."""
    from gradio import routes

    filters = routes.templates.env.filters
    filters["toorjson"] = lambda value: routes.toorjson(lean(value))
