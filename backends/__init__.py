"""The methods. Nothing in here knows of gradio, plotly or demos."""
