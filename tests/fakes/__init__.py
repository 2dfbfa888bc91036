"""Small stand-ins for real things: panels for the shell, language models for the methods."""
