"""A catalogue of real works (films, books, games, albums) and what is said of them."""
