"""Comparisons in one run on the same data: one module per README table, `python -m benchmarks.<name>`."""
