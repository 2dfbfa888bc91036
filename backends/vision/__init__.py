"""Vision ground: the bundled transformer and the formulas it was pretrained on, tasks, probes, one training loop."""
