"""How hops look on a terminal."""

import sys
from datetime import datetime
from typing import IO

from stepbridge.trace import Hop

_STYLES = {
    "stepfunctions": "magenta",
    "lambda": "yellow",
    "iot": "cyan",
    "rules": "blue",
    "iam": "red",
    "cloudformation": "green",
    "api": "bright_black",
}
_SOURCE_WIDTH = max(map(len, _STYLES))
# A function's stack trace comes as one hop; a glance at it is enough here, the log has all of it.
_MAX_TEXT = 600
_MAX_REFUSAL = 4000  # what would allow it stands at the end


class Display:
    """Writes lines to a stream: in colour where it is a terminal that wants them."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        from rich.console import Console  # rich takes longer to import than most commands take to run

        self._console: Console = Console(
            file=stream or sys.stdout, soft_wrap=True, highlight=False, markup=False, emoji=False
        )
        self._coloured = self._console.is_terminal

    def line(self, text: str = "", style: str | None = None) -> None:
        """Write a line."""
        self._console.print(text, style=style)

    def hop(self, hop: Hop, start: float | None = None) -> None:
        """Write a hop with the time of day, or with the seconds since `start`."""
        if start is None:
            when = datetime.fromtimestamp(hop.time).strftime("%H:%M:%S.%f")[:-3]
        else:
            when = f"{hop.time - start:+9.3f} s"
        text = _printable(" ".join(hop.text.split()))
        most = _MAX_REFUSAL if hop.event.endswith("-refused") else _MAX_TEXT
        if len(text) > most:
            text = f"{text[:most]}…"
        source = f"{hop.source:<{_SOURCE_WIDTH}}"
        if not self._coloured:  # rich would take ten times as long to say the same
            self._console.file.write(f"{when}  {source}  {text}\n")
            self._console.file.flush()
            return
        from rich.text import Text

        style = _STYLES.get(hop.source, "")
        self._console.print(Text.assemble((when, "bright_black"), "  ", (source, style), "  ", text))


def _printable(text: str) -> str:
    """A text in which nothing speaks to the terminal: what a device calls itself may be anything."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
