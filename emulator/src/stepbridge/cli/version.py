"""`stepbridge version`."""

from stepbridge import __version__


def version() -> None:
    """Print the version."""
    print(f"stepbridge {__version__}")
