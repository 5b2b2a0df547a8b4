"""Java's regular expressions, as far as Python's differ in writing and not in power."""

import re
import warnings

_CLASSES = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    "Space": r"\t\n\x0b\f\r ",
    "Blank": r"\t ",
    "XDigit": "0-9a-fA-F",
    "ASCII": r"\x00-\x7f",
    "Cntrl": r"\x00-\x1f\x7f",
    "Graph": r"\x21-\x7e",
    "Print": r"\x20-\x7e",
}
_JAVA_ONLY = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|\Z)|\\(?P<p>[pP])\{(?P<name>\w+)\}|\\(?P<letter>.)|\(\?<(?=[A-Za-z])", re.DOTALL
)


def compile_java(pattern: str) -> re.Pattern[str] | None:
    """`pattern` compiled, or None if it is not one (or uses what Python's expressions cannot do)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # `[a&&b]`: the intersection that Python does not have
            return re.compile(_translate(pattern), re.ASCII)
    except (re.error, RecursionError, OverflowError, FutureWarning, KeyError):
        return None


def _translate(pattern: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match["quoted"] is not None:
            return re.escape(match["quoted"])
        if match["name"]:
            members = _CLASSES[match["name"].removeprefix("Is")]
            inside = _inside_class(pattern, match.start())
            if inside and match["p"] == "P":
                raise KeyError(match["name"])
            return members if inside else f"[{'^' if match['p'] == 'P' else ''}{members}]"
        if match["letter"]:
            return {"z": r"\Z", "Z": r"(?=\n?\Z)", "h": r"[ \t]", "R": r"(?:\r\n|[\n\r])"}.get(
                match["letter"], match[0]
            )
        return "(?P<"

    return _JAVA_ONLY.sub(replace, pattern)


def _inside_class(pattern: str, position: int) -> bool:
    before = re.sub(r"\\.", "", pattern[:position], flags=re.DOTALL)
    return before.rfind("[") > before.rfind("]")


def expand_java(template: str, match: re.Match[str]) -> str:
    """A replacement in Java's writing: `$1`, `${name}`, and backslash for a literal `$` or backslash.

    Raises IndexError for a group that does not exist, ValueError for a `$` that refers to nothing.
    """

    def one(reference: re.Match[str]) -> str:
        if reference["literal"] is not None:
            return reference["literal"]
        if reference["name"]:
            return match[reference["name"]] or ""
        if not reference["number"]:
            raise ValueError("a '$' that refers to no group")
        # As many digits as still name a group.
        digits = reference["number"]
        length = len(digits)
        while length > 1 and int(digits[:length]) > match.re.groups:
            length -= 1
        return (match[int(digits[:length])] or "") + digits[length:]

    return re.sub(r"\\(?P<literal>.)|\$(?:\{(?P<name>\w+)\}|(?P<number>\d+))?", one, template, flags=re.DOTALL)
