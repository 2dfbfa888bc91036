"""SoCo: learned singular-spectrum compression of language models (arXiv 2502.15092), its rivals and our variants."""
