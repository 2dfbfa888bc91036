"""Language-model ground: the bundled model, its corpus, perplexity, continuations."""
