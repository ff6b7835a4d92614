"""The one kind of error that is the user's to mend: one line that says what was found and what is allowed."""


class UserError(ValueError):
    """Raised for anything a user can get wrong. The command line prints it as one line and exits with status 2."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


def shorten(value, limit: int = 60) -> str:
    """`repr(value)` cut to `limit` characters, so that an error stays on one line whatever was found."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
