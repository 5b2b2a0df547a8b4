"""Text to tokens.

Tokens are scanned one at a time, from any position: a substitution template holds an expression in the middle of
other text, and only the parser knows where it ends.
"""

import re
from dataclasses import dataclass

from stepbridge.iot.rules.sql.errors import SqlError

NAME, NUMBER, STRING, VARIABLE, SYMBOL, END = "name", "number", "string", "variable", "symbol", "end"

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>  \d+(?:\.\d+)?(?:[eE][+-]?\d+)? )
      | (?P<name>    [^\W\d][\w$]* | \$\w* )
      | (?P<variable> @\w+ )
      | (?P<string>  '(?:[^']|'')*' | "(?:[^"]|"")*" )
      | (?P<symbol>  <> | <= | >= | [-+*/%=<>(),.\[\]{}:] )
      | (?P<end>     \Z )
    )""",
    re.VERBOSE | re.DOTALL,
)

_HINTS = {
    "'": "the string that begins here is not closed",
    '"': "the string that begins here is not closed",
    "!": "'!' is not an operator; 'not equal' is written <>",
    "@": "a variable is written @name, of letters, digits and underscores",
    "`": 'quoted identifiers are not supported; reach unusual attribute names with get(object, "name")',
    ";": "a statement has no ';' at its end",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its kind, its text (a string's is what is between the quotes, unescaped) and where it stands."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def keyword(self) -> str:
        """The text in upper case if this is a name, else the empty string: keywords are not case-sensitive."""
        return self.text.upper() if self.kind == NAME else ""

    def __str__(self) -> str:
        if self.kind == END:
            return "the end"
        return f"the string {self.text!r}" if self.kind == STRING else f"'{self.text}'"


def scan(text: str, position: int) -> Token:
    """The token at or after `position`.  Raises SqlError where there is none."""
    match = _TOKEN.match(text, position)
    if match is None:
        start = position + len(text[position:]) - len(text[position:].lstrip())
        character = text[start]
        raise SqlError(_HINTS.get(character, f"the character {character!r} has no meaning here"), text, start)
    kind = match.lastgroup or END
    start, end = match.span(kind)
    if kind == STRING:
        return Token(kind, _unquote(match[kind]), start, end)
    return Token(kind, match[kind], start, end)


def _unquote(literal: str) -> str:
    # A backslash means nothing here: it is the regular expressions' own.
    quote = literal[0]
    return literal[1:-1].replace(quote * 2, quote)
