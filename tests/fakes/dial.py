"""A whole panel with invented numbers: a control, a figure, its words, the actions and closed rows."""

from __future__ import annotations

import math

import gradio as gr
import plotly.graph_objects as go

from demos.kit.look import CONTROL, FIGURE, OTHER, OURS, RIVAL
from demos.kit.panel import AppContext, Built, Panel, Query, guarded, row

RATIOS = list(range(0, 90, 10))
CURVES = {
    "ours": (OURS, [18.2, 18.6, 19.4, 21.0, 23.6, 29.0, 38.0, 57.0, 98.0]),
    "control": (CONTROL, [18.2, 18.9, 20.2, 22.4, 26.0, 33.5, 46.0, 71.0, 122.0]),
    "rival": (RIVAL, [18.2, 20.4, 23.9, 30.0, 41.0, 62.0, 103.0, 190.0, 380.0]),
    "other": (OTHER, [18.2, 34.0, 78.0, 190.0, 420.0, 800.0]),
}


def draw(ratio: float) -> tuple[go.Figure, str]:
    """Four curves with labels on them, and the sentence for one place on ours."""
    figure = go.Figure(layout=FIGURE)
    for name, (colour, values) in CURVES.items():
        figure.add_scatter(x=RATIOS[: len(values)], y=values, mode="lines+markers", line_color=colour, name=name)
        end = {"x": RATIOS[len(values) - 1], "y": math.log10(values[-1])}
        figure.add_annotation(
            **end, text=f"<b>{name}</b>", font_color=colour, showarrow=False, xanchor="left", xshift=8
        )
    figure.add_vline(x=ratio, line={"color": OURS, "width": 1})
    figure.update_yaxes(type="log", title_text="perplexity (log)", tickvals=[20, 50, 100, 200, 500, 1000])
    figure.update_xaxes(title_text="parameters removed (%)", range=[-2, 95])
    figure.update_layout(height=460)
    return figure, f"At **{ratio:.0f} %** ours reaches perplexity {CURVES['ours'][1][RATIOS.index(int(ratio))]:.1f}."


def build(context: AppContext) -> Built:
    """Every class of the look, in Gradio's own components."""
    with gr.Row(elem_classes="v-split"):
        with gr.Column(elem_classes=["v-card", "v-controls"]):
            ratio = gr.Slider(0, 80, 40, step=10, label="Parameters removed (%)", elem_id="dial-ratio")
            gr.Radio(["ours", "control", "rival"], value="ours", label="Method", elem_classes="v-method-chips")
            gr.HTML('<dl class="v-facts"><dt>Model</dt><dd>invented</dd></dl>', js_on_load=None)
            gr.Markdown(r"$$W' = U(\Sigma \odot S)V^\top + d$$", elem_classes="v-formula")
            with gr.Row(elem_classes="v-actions"):
                gr.Button("Pin as A", variant="primary")
                gr.Button("Link")
                fault = gr.Button("Break")
        with gr.Column(elem_classes=["v-card", "v-figure"]):
            plot = gr.Plot(show_label=False, container=False)
            caption = gr.Markdown(elem_classes="v-caption")
            gr.Markdown(f"every number is invented · device {context.device}", elem_classes="v-protocol")
    with gr.Row(elem_classes="v-split-even"):
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### Same prompt, same seed\nNothing was generated.")
        with gr.Column(elem_classes="v-card"):
            gr.Dataframe([["q", 102], ["k", 136]], headers=["matrix", "rank"], label="Rank kept", interactive=False)
    with row("Guided path", "predict, move, explain: 5 minutes"):
        gr.Textbox(label="Your prediction", placeholder="A number")
        gr.Dropdown(["one", "two"], label="Choice")
        gr.Checkbox(label="Show the control")
    with row("Advanced", "nothing in here"):
        gr.Markdown("Nothing.")

    def first(query: Query, value: float) -> tuple[float, go.Figure, str]:
        asked = query.get("ratio", "")
        value = float(asked) if asked in map(str, RATIOS) else value
        return value, *draw(value)

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    ratio.input(guarded(draw), ratio, [plot, caption], trigger_mode="always_last", concurrency_limit=None, **quiet)
    fault.click(guarded(lambda: 1 / 0), None, None, **quiet)
    return Built(first, outputs=[ratio, plot, caption], inputs=[ratio])


PANEL = Panel("dial", "Dial", "Compress", "2502.15092", "What is lost when I turn this? Drag and watch.", build)
