"""nascore: five papers on Neural Architecture Search, each complete, fast and readable.
`nascore.run` is the way in."""

__version__ = "0.1.0"


def __getattr__(name: str):
    # Imported on first use: a short command should start fast.
    if name in ("run", "Result"):
        from nascore import search

        return getattr(search, name)
    raise AttributeError(f"module 'nascore' has no attribute {name!r}")
