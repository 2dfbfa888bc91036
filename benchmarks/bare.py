"""Ten tabs of plain Gradio: what Gradio itself costs. `python -m benchmarks.bare --port P`

`benchmarks.ui` measures the app beside it. It has the app's limits; no theme, no script, no model and no MCP.
"""

from __future__ import annotations

import argparse
import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported
import gradio as gr

TABS = range(1, 11)


def answer(value: float, choice: str) -> str:
    """The cheap event of every tab."""
    return f"{choice} at {value:g}"


def build() -> gr.Blocks:
    """Each tab: a slider, a radio, an empty figure and the text that follows the slider."""
    with gr.Blocks(title="Bare", analytics_enabled=False) as page, gr.Tabs():
        for tab in TABS:
            with gr.Tab(f"Tab {tab}", elem_id=f"bare-{tab}"):
                value = gr.Slider(0, 100, 40, step=1, label="Value")
                choice = gr.Radio(["one", "two", "three"], value="one", label="Choice")
                gr.Plot(label="Figure")
                said = gr.Markdown("nothing yet", elem_id=f"bare-{tab}-said")
                value.input(answer, [value, choice], said, api_name=f"tab{tab}", trigger_mode="always_last",
                            show_progress="hidden", concurrency_limit=None)  # fmt: skip
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    demo = build().queue(max_size=64, default_concurrency_limit=2, api_open=False)
    demo.launch(server_name="127.0.0.1", server_port=parser.parse_args().port, quiet=True, max_threads=8,
                ssr_mode=False, show_error=False, run_history=False)  # fmt: skip
