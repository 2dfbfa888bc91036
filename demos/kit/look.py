"""How Vitrine looks: one palette, one type scale, one theme. Fonts are the visitor's own: nothing is fetched.

The colours are written once, here; assets/style.css reads them as css variables (`--v-page`, `--v-ink`, ...), Gradio
through the theme, and figures by name (`OURS`, `RIVAL`, ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils import colors, sizes

from backends.runtime.files import ASSETS

# name: (light, dark); contrast with page and card is at least 4.5 for everything that is read
PALETTE = {
    "page": ("#f6f4ee", "#161618"),
    "card": ("#ffffff", "#1d1d20"),
    "line": ("#e2ddd2", "#34343a"),
    "ink": ("#1d1d1f", "#eae7e0"),
    "grey": ("#67645d", "#a5a29b"),
    "accent": ("#0072b2", "#56b4e9"),
    "on-accent": ("#ffffff", "#10202b"),
    "soft": ("#ebf4f9", "#1a232b"),
    "good": ("#00754f", "#2fbf91"),
    "bad": ("#b34700", "#f0833a"),
}

# A method keeps its colour in every panel (Okabe and Ito's, safe for colour-blind readers)
OURS, RIVAL, CONTROL, OTHER = "#0072B2", "#E69F00", "#CC79A7", "#999999"
GOOD, BAD = "#009E73", "#D55E00"

FONT = ("-apple-system", "BlinkMacSystemFont", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")
SMALL, BODY, LARGE, TITLE = "13px", "15px", "17px", "26px"

# Margins are given: a figure that measures its own words is drawn twice
_AXIS = {
    "gridcolor": PALETTE["line"][0], "zeroline": False, "automargin": False, "ticklabeloverflow": "allow",
    "title": {"font": {"size": 13}},
}  # fmt: skip

# `go.Figure(layout=FIGURE)`: every figure starts with this; style.css recolours text, grid and our blue in the dark
FIGURE: dict[str, Any] = {
    "uirevision": "keep",
    "template": {
        "layout": {
            "font": {"family": ", ".join(FONT), "size": 13, "color": PALETTE["grey"][0]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 56, "r": 24, "t": 16, "b": 48},
            "showlegend": False,
            "hovermode": "closest",
            "xaxis": {**_AXIS, "showgrid": False},
            "yaxis": _AXIS,
        }
    },
}


def theme() -> gr.themes.Base:
    """Gradio's plainest theme in our colours: hairlines, no shadows, no gradients."""
    blue = colors.Color(
        "#ebf4f9", "#d6e8f3", "#a3cce3", "#82bad9", "#56b4e9", "#0072b2", "#00639b", "#005484", "#00456c", "#003655",
        "#00283e", name="vitrine-blue",
    )  # fmt: skip
    warm = colors.Color(
        "#faf9f5", "#f6f4ee", "#e2ddd2", "#cfc9bc", "#a5a29b", "#807d76", "#67645d", "#34343a", "#26262a", "#1d1d20",
        "#161618", name="vitrine-warm",
    )  # fmt: skip
    text = sizes.Size(SMALL, SMALL, SMALL, BODY, LARGE, TITLE, TITLE, name="vitrine-text")
    radius = sizes.Size("2px", "4px", "6px", "8px", "10px", "12px", "16px", name="vitrine-radius")
    base = gr.themes.Base(
        primary_hue=blue, secondary_hue=blue, neutral_hue=warm, text_size=text, radius_size=radius, font=FONT,
        font_mono=MONO,
    )  # fmt: skip
    return base.set(**{**_coloured(), **_plain()})


def _coloured() -> dict[str, str]:
    """Gradio's colour variables, from the palette: `name` for the light page and `name_dark` for the dark one."""
    roles = {
        "page": ["body_background_fill", "background_fill_secondary"],
        "card": ["background_fill_primary", "block_background_fill", "input_background_fill", "code_background_fill",
                 "button_secondary_background_fill", "checkbox_label_background_fill", "checkbox_background_color",
                 "table_even_background_fill", "table_odd_background_fill", "block_label_background_fill",
                 "panel_background_fill", "input_background_fill_focus", "input_background_fill_hover",
                 "button_cancel_background_fill"],
        "line": ["border_color_primary", "block_border_color", "input_border_color", "table_border_color",
                 "button_secondary_border_color", "checkbox_label_border_color", "checkbox_border_color",
                 "button_cancel_border_color"],
        "ink": ["body_text_color", "button_secondary_text_color", "button_secondary_text_color_hover",
                "block_title_text_color", "accordion_text_color", "table_text_color", "checkbox_label_text_color"],
        "grey": ["body_text_color_subdued", "block_label_text_color", "block_info_text_color",
                 "input_placeholder_color"],
        "accent": ["color_accent", "border_color_accent", "link_text_color", "link_text_color_hover",
                   "link_text_color_active", "link_text_color_visited", "slider_color", "loader_color",
                   "button_primary_background_fill", "button_primary_border_color",
                   "button_primary_background_fill_hover", "button_primary_border_color_hover",
                   "input_border_color_focus", "checkbox_background_color_selected", "checkbox_border_color_selected",
                   "checkbox_border_color_focus", "button_secondary_border_color_hover",
                   "checkbox_label_border_color_hover", "checkbox_label_border_color_selected",
                   "checkbox_label_background_fill_selected", "stat_background_fill"],
        "on-accent": ["button_primary_text_color", "button_primary_text_color_hover",
                      "checkbox_label_text_color_selected"],
        "soft": ["color_accent_soft", "button_secondary_background_fill_hover", "table_row_focus",
                 "checkbox_label_background_fill_hover", "button_cancel_background_fill_hover"],
        "bad": ["button_cancel_text_color", "button_cancel_text_color_hover", "error_text_color"],
    }  # fmt: skip
    both = {}
    for colour, names in roles.items():
        light, dark = PALETTE[colour]
        for name in names:
            both[name] = light
            if name != "color_accent":  # the one colour that Gradio keeps the same; style.css sets it for the dark
                both[f"{name}_dark"] = dark
    return both


def _plain() -> dict[str, str]:
    """Sizes and the things that are left out."""
    shadows = ["block_shadow", "block_label_shadow", "input_shadow", "input_shadow_focus", "checkbox_shadow"]
    shadows += ["shadow_drop", "shadow_drop_lg", "shadow_inset", "checkbox_label_shadow", "shadow_spread"]
    shadows += [f"button_{kind}_shadow{state}" for kind in ("primary", "secondary", "cancel")
                for state in ("", "_hover", "_active")]  # fmt: skip
    return {
        **dict.fromkeys(shadows, "none"),
        "shadow_spread": "0px",
        "input_border_width": "1px",
        "checkbox_border_radius": "3px",
        "button_border_width": "1px",
        "button_transition": "background-color 0.12s, border-color 0.12s",
        "button_large_text_size": BODY,
        "button_large_text_weight": "400",
        "button_large_padding": "8px 14px",
        "button_large_radius": "*radius_md",
        "block_title_text_size": SMALL,
        "block_title_text_weight": "400",
        "block_label_text_size": SMALL,
        "block_info_text_size": SMALL,
        "block_padding": "12px 16px",
        "block_radius": "*radius_lg",
        "input_text_size": BODY,
        "layout_gap": "16px",
        "form_gap_width": "0px",
        "section_header_text_size": BODY,
        "section_header_text_weight": "400",
        "prose_header_text_weight": "600",
    }


def css() -> str:
    """The palette as css variables, then assets/style.css."""

    def block(selector: str, side: int) -> str:
        return f"{selector} {{ " + " ".join(f"--v-{name}: {pair[side]};" for name, pair in PALETTE.items()) + " }"

    return "\n".join([block(":root", 0), block(".dark", 1), (ASSETS / "style.css").read_text(encoding="utf-8")])


def _early() -> str:
    """Where the page's script finds what draws figures and formulas: Gradio would ask for it at the first of them."""
    folder = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
    parts = [next(folder.glob(name)).name for name in ("PlotlyPlot-*.js", "auto-render-*.js", "katex-*.css")]
    return f'<meta name="v-early" content="{" ".join(parts)}">'


HEAD = f"{_early()}<script>{(ASSETS / 'shell.js').read_text(encoding='utf-8')}</script>"

# What `launch` (or `mount_gradio_app`) is given, beside the limits of app.py
LAUNCH: dict[str, Any] = {"theme": theme(), "css": css(), "head": HEAD, "footer_links": ["api"]}
