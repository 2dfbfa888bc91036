"""Pear: prune redundant adapters and share the important ones in their places (arXiv 2409.19733)."""
