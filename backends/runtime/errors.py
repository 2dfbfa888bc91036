"""The one exception whose text a visitor may read."""


class UserError(Exception):
    """Something a person can mend: one sentence that says what is wrong and what to do."""
