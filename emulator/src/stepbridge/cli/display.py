"""How hops look on a terminal."""

import sys
from datetime import datetime
from typing import IO, TYPE_CHECKING

from stepbridge.trace import Hop

if TYPE_CHECKING:
    pass

_STYLES = {
    "stepfunctions": "magenta",
    "lambda": "yellow",
    "iot": "cyan",
    "rules": "blue",
    "cloudformation": "green",
    "api": "bright_black",
}
_SOURCE_WIDTH = max(map(len, _STYLES))
# A function's stack trace comes as one hop; a glance at it is enough here, the log has all of it.
_MAX_TEXT = 600


class Display:
    """Writes lines to a stream: in colour where it is a terminal that wants them."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        from rich.console import Console  # rich takes longer to import than most commands take to run

        self._console: Console = Console(
            file=stream or sys.stdout, soft_wrap=True, highlight=False, markup=False, emoji=False
        )

    def line(self, text: str = "", style: str | None = None) -> None:
        """Write a line."""
        self._console.print(text, style=style)

    def hop(self, hop: Hop, start: float | None = None) -> None:
        """Write a hop with the time of day, or with the seconds since `start`."""
        from rich.text import Text

        if start is None:
            when = datetime.fromtimestamp(hop.time).strftime("%H:%M:%S.%f")[:-3]
        else:
            when = f"{hop.time - start:+9.3f} s"
        style = _STYLES.get(hop.source, "")
        text = " ".join(hop.text.split())
        if len(text) > _MAX_TEXT:
            text = f"{text[:_MAX_TEXT]}…"
        self._console.print(
            Text.assemble((when, "bright_black"), "  ", (f"{hop.source:<{_SOURCE_WIDTH}}", style), "  ", text)
        )
