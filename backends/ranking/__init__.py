"""How good a ranking is, which rankings are compared, and the recommenders that several methods stand beside."""
