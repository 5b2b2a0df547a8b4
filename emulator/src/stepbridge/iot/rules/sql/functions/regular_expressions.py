"""Java's regular expressions, written in Python's.

AWS does not name its dialect; its rules engine is written in Java, and so is what its examples show (`$1`).  The
translation knows Java's flags itself and leaves none to Python, so that `.`, `$`, `(?i)` and `[a-z&&[^aeiou]]` mean
what java.util.regex.Pattern says they mean.
"""

import re
import unicodedata
from functools import lru_cache

from stepbridge.iot.rules.sql.functions.character_classes import (
    BLANKS,
    BREAKS,
    DIGITS,
    LINE_TERMINATORS,
    SPACES,
    WORDS,
    Characters,
    named,
)


class InvalidPatternError(Exception):
    """Not a regular expression of Java's."""


class UnsupportedPatternError(Exception):
    """A regular expression of Java's that Python's cannot do, because of a feature of it."""

    def __init__(self, pattern: str, feature: str) -> None:
        super().__init__(f"stepbridge cannot match the regular expression {pattern!r}: it uses {feature}")


@lru_cache(maxsize=512)
def compile_java(pattern: str) -> re.Pattern[str]:
    """`pattern`, ready to be searched for.  Raises InvalidPatternError and UnsupportedPatternError."""
    try:
        return re.compile(_Translation(pattern).translated)
    except re.error as error:
        if "look-behind" in str(error):
            raise UnsupportedPatternError(pattern, "a look-behind of varying length") from error
        raise InvalidPatternError(str(error)) from error
    except (RecursionError, OverflowError, ValueError) as error:  # deeper or longer than Python goes
        raise InvalidPatternError(str(error)) from error


def unsupported_pattern(pattern: str) -> str | None:
    """What to tell of a pattern that Java could match and Python cannot; None of others, be they patterns or not."""
    try:
        compile_java(pattern)
    except UnsupportedPatternError as error:
        return str(error)
    except InvalidPatternError:
        pass
    return None


_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
_SETS = {"d": DIGITS, "s": SPACES, "w": WORDS, "h": BLANKS, "v": BREAKS}
_SETS |= {letter.upper(): ~characters for letter, characters in _SETS.items()}
_BREAK = rf"(?:\r\n|{BREAKS.pattern()})"
_BEFORE_LAST_BREAK = r"(?:(?=(?:\r\n|[\r\x85\u2028\u2029])?\Z)|(?<!\r)(?=\n\Z))"
# Between the two characters of \r\n no line begins or ends.
_LINE_BEGINS = r"(?:\A|(?:(?<=[\n\x85\u2028\u2029])|(?<=\r)(?!\n))(?=[\s\S]))"
_LINE_ENDS = r"(?:(?=[\r\x85\u2028\u2029]|\Z)|(?<!\r)(?=\n))"
_ASSERTIONS = {"A": r"\A", "z": r"\Z", "Z": _BEFORE_LAST_BREAK, "b": r"(?:\b)", "B": r"(?!\b)", "R": _BREAK}
_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d+)(?:(,)(\d*))?\})[?+]?", re.ASCII)
_GROUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_HEXADECIMAL = {
    "x": re.compile(r"([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]+)\}"),
    "u": re.compile(r"([0-9A-Fa-f]{4})"),
}
_OCTAL = re.compile(r"[0-3][0-7]{2}|[0-7]{1,2}")
_FLAGS = frozenset("idmsux")
_QUOTED = re.compile(r"\\Q(?P<text>.*?)(?:\\E|\Z)|\\.", re.DOTALL)


def _unquoted(match: re.Match[str]) -> str:
    r"""`\Q…\E` written character by character, as Java does before anything else."""
    if match["text"] is None:
        return match[0]
    return "".join(one if one.isalnum() or not one.isascii() else f"\\{one}" for one in match["text"])


class _Translation:
    """One pattern on its way; `translated` is what becomes of it."""

    def __init__(self, pattern: str) -> None:
        self._written = pattern
        self._pattern = _QUOTED.sub(_unquoted, pattern)
        self._position = 0
        self._flags: frozenset[str] = frozenset()
        self._groups = 0
        self._open: list[int] = []
        self._names: dict[str, int] = {}
        self.translated = "|".join(self._alternatives())
        if self._position < len(self._pattern):
            raise InvalidPatternError("unmatched closing ')'")

    def _unsupported(self, feature: str) -> UnsupportedPatternError:
        return UnsupportedPatternError(self._written, feature)

    # Reading

    def _peek(self, length: int = 1) -> str:
        return self._pattern[self._position : self._position + length]

    def _accept(self, text: str) -> bool:
        found = self._pattern.startswith(text, self._position)
        if found:
            self._position += len(text)
        return found

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise InvalidPatternError("the pattern ends too early")
        self._position += 1
        return character

    def _match(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        match = expression.match(self._pattern, self._position)
        if match is not None:
            self._position = match.end()
        return match

    def _skip_comments(self) -> None:
        """Where the flag x is set, white space and everything from # to the end of the line mean nothing."""
        while "x" in self._flags and self._peek() and (self._peek() in " \t\n\x0b\f\r#"):
            if self._next() == "#":
                while self._peek() and ord(self._peek()) not in LINE_TERMINATORS:
                    self._position += 1

    # Structure

    def _alternatives(self) -> list[str]:
        texts = [self._sequence()]
        while self._accept("|"):
            texts.append(self._sequence())
        return texts

    def _sequence(self) -> str:
        text = ""
        while True:
            self._skip_comments()
            if self._peek() in ("", "|", ")"):
                return text
            text += self._quantified(self._item())

    def _quantified(self, item: str) -> str:
        while True:
            self._skip_comments()
            if self._peek() not in ("*", "+", "?", "{"):
                return item
            match = self._match(_QUANTIFIER)
            if match is None:
                raise InvalidPatternError("illegal repetition")
            if match[3] and int(match[3]) < int(match[1]):
                raise InvalidPatternError("illegal repetition range")
            if not item:  # flags, which are nothing that could be repeated
                if match[0].startswith("{"):
                    continue
                raise InvalidPatternError(f"dangling meta character '{match[0][0]}'")
            # In a group of its own, for Python refuses to repeat what is repeated already, and some assertions.
            item = f"(?:{item}){match[0]}"
            if not match[0].startswith("{") and self._peek() in ("*", "+", "?"):
                raise InvalidPatternError(f"dangling meta character '{self._peek()}'")

    def _item(self) -> str:
        character = self._next()
        match character:
            case "(":
                return self._group()
            case "[":
                return self._class().pattern()
            case "\\":
                return self._escape()
            case ".":
                if "s" in self._flags:
                    return r"[\s\S]"
                return "[^\n]" if "d" in self._flags else (~LINE_TERMINATORS).pattern()
            case "^":
                if "m" not in self._flags:
                    return r"\A"
                return r"(?:\A|(?<=\n)(?=[\s\S]))" if "d" in self._flags else _LINE_BEGINS
            case "$":
                if "d" in self._flags:
                    return r"(?=\n|\Z)" if "m" in self._flags else r"(?=\n?\Z)"
                return _LINE_ENDS if "m" in self._flags else _BEFORE_LAST_BREAK
            case "*" | "+" | "?":
                raise InvalidPatternError(f"dangling meta character '{character}'")
            case "{":
                raise InvalidPatternError("illegal repetition")
        return self._literal(character)

    def _literal(self, character: str) -> str:
        if "i" not in self._flags:
            return re.escape(character)
        characters = self._cased(Characters.of([(ord(character), ord(character))]))
        return re.escape(character) if len(characters.bounds) == 2 else characters.pattern()

    def _cased(self, characters: Characters) -> Characters:
        return characters.in_any_case(beyond_ascii="u" in self._flags) if "i" in self._flags else characters

    # Groups

    def _group(self) -> str:
        flags = self._flags
        if not self._accept("?"):
            return self._captured("(", flags)
        for kind in (":", "=", "!", ">"):
            if self._accept(kind):
                return self._body(f"(?{kind}", flags)
        for kind, join in (("<=", "|"), ("<!", "")):
            if self._accept(kind):
                # Python looks behind for one length only, but for each alternative another one.
                behind = [f"(?{kind}{text})" for text in self._closed_alternatives(flags)]
                return f"(?:{join.join(behind)})"
        if self._accept("<"):
            name = self._match(_GROUP_NAME)
            if name is None or not self._accept(">") or name[0] in self._names:
                raise InvalidPatternError("not the name of a group")
            self._names[name[0]] = self._groups + 1
            return self._captured(f"(?P<{name[0]}>", flags)
        self._read_flags()
        if self._accept(")"):
            return ""  # from here on, up to the end of the group around
        if not self._accept(":"):
            raise InvalidPatternError("unknown inline modifier")
        return self._body("(?:", flags)

    def _captured(self, opening: str, flags: frozenset[str]) -> str:
        self._groups += 1
        self._open.append(self._groups)
        text = self._body(opening, flags)
        self._open.pop()
        return text

    def _body(self, opening: str, flags: frozenset[str]) -> str:
        return f"{opening}{'|'.join(self._closed_alternatives(flags))})"

    def _closed_alternatives(self, flags: frozenset[str]) -> list[str]:
        """The alternatives up to the `)`, after which the flags are what they were."""
        texts = self._alternatives()
        if not self._accept(")"):
            raise InvalidPatternError("unclosed group")
        self._flags = flags
        return texts

    def _read_flags(self) -> None:
        is_on = True
        while self._peek() not in ("", ")", ":"):
            letter = self._next()
            if letter == "-":
                is_on = False
            elif letter == "U":
                raise self._unsupported("the flag U")
            elif letter not in _FLAGS:
                raise InvalidPatternError("unknown inline modifier")
            else:
                self._flags = self._flags | {letter} if is_on else self._flags - {letter}

    # Escapes

    def _escape(self) -> str:
        letter = self._next()
        if letter in _ASSERTIONS:
            if letter == "b" and self._peek() == "{":
                raise self._unsupported("\\b{g}")
            return _ASSERTIONS[letter] if letter != "Z" or "d" not in self._flags else r"(?=\n?\Z)"
        if letter in ("G", "X"):
            raise self._unsupported(f"\\{letter}")
        if letter in "123456789":
            return self._back_reference(letter)
        if letter == "k":
            return self._named_reference()
        characters = self._escaped_set(letter)
        if characters is not None:
            return characters.pattern()
        return self._literal(self._escaped_character(letter))

    def _back_reference(self, digits: str) -> str:
        while self._peek() in tuple("0123456789") and int(digits + self._peek()) <= self._groups:
            digits += self._next()
        return self._reference(int(digits), digits)

    def _named_reference(self) -> str:
        name = self._match(_GROUP_NAME) if self._accept("<") else None
        if name is None or not self._accept(">") or name[0] not in self._names:
            raise InvalidPatternError("a reference to a group that there is not")
        number = self._names[name[0]]
        return self._reference(number, str(number))

    def _reference(self, number: int, digits: str) -> str:
        if number > self._groups or number in self._open:
            return "(?!)"  # what has not been captured yet is never there
        return self._repeated(f"(?:\\{digits})")

    def _repeated(self, reference: str) -> str:
        if "i" not in self._flags:
            return reference
        return f"(?i:{reference})" if "u" in self._flags else f"(?ai:{reference})"

    def _escaped_set(self, letter: str) -> Characters | None:
        if letter in _SETS:
            return _SETS[letter]
        if letter not in ("p", "P"):
            return None
        name = self._next()
        if name == "{":
            end = self._pattern.find("}", self._position)
            if end < 0:
                raise InvalidPatternError("unclosed character family")
            name = self._pattern[self._position : end]
            self._position = end + 1
        characters = named(name)
        if characters is None:
            raise self._unsupported(f"\\p{{{name}}}")
        return ~characters if letter == "P" else characters

    def _escaped_character(self, letter: str) -> str:
        if letter in _ESCAPED:
            return _ESCAPED[letter]
        if letter in _HEXADECIMAL:
            match = self._match(_HEXADECIMAL[letter])
            code = -1 if match is None else int(next(filter(None, match.groups())), 16)
            if not 0 <= code <= 0x10FFFF:
                raise InvalidPatternError("illegal hexadecimal escape sequence")
            return chr(code)
        if letter == "0":
            octal = self._match(_OCTAL)
            if octal is None:
                raise InvalidPatternError("illegal octal escape sequence")
            return chr(int(octal[0], 8))
        if letter == "c":
            return chr(ord(self._next()) ^ 64)
        if letter == "N":
            return self._named_character()
        if letter.isascii() and letter.isalpha():
            raise InvalidPatternError("illegal or unsupported escape sequence")
        return letter

    def _named_character(self) -> str:
        end = self._pattern.find("}", self._position)
        try:
            if not self._accept("{") or end < 0:
                raise KeyError
            character = unicodedata.lookup(self._pattern[self._position : end])
        except KeyError as error:
            raise InvalidPatternError("not the name of a character") from error
        self._position = end + 1
        return character

    # Classes

    def _class(self) -> Characters:
        """The set written from here to the `]`: unions, and between `&&` what is in both."""
        is_negated = self._accept("^")
        whole: Characters | None = None
        part: Characters | None = None
        while True:
            self._skip_comments()
            if self._peek() == "]" and (whole is not None or part is not None):
                self._position += 1
                break
            if self._accept("&&"):
                while self._accept("&"):
                    pass
                if part is not None:
                    whole = part if whole is None else whole & part
                    part = None
                continue
            item = self._class_item()
            part = item if part is None else part | item
        if part is not None:
            whole = part if whole is None else whole & part
        assert whole is not None  # noqa: S101 - the loop does not end before there is something
        return ~whole if is_negated else whole

    def _class_item(self) -> Characters:
        character = self._next()
        if character == "[":
            return self._class()
        if character == "\\":
            letter = self._next()
            characters = self._escaped_set(letter)
            if characters is not None:
                return characters
            character = self._escaped_in_class(letter)
        first = last = ord(character)
        self._skip_comments()
        if self._peek() == "-" and self._peek(2)[1:] not in ("", "]", "["):
            self._position += 1
            self._skip_comments()
            last = ord(self._range_end())
            if last < first:
                raise InvalidPatternError("illegal character range")
        return self._cased(Characters.of([(first, last)]))

    def _range_end(self) -> str:
        character = self._next()
        return self._escaped_in_class(self._next()) if character == "\\" else character

    def _escaped_in_class(self, letter: str) -> str:
        if letter in _SETS or letter in ("p", "P"):
            raise InvalidPatternError("illegal character range")
        return self._escaped_character(letter)


_REFERENCE = re.compile(r"\\(?P<literal>.)|\\|\$(?:\{(?P<name>[A-Za-z][A-Za-z0-9]*)\}|(?P<number>[0-9]+))?", re.DOTALL)


def replace_all(expression: re.Pattern[str], replacement: str, text: str, most: int) -> str:
    """`text` with everything that is found replaced; OverflowError where that makes more than `most` characters of it.

    In `replacement`, `$1` and `${name}` are what a group has matched, and a backslash makes a `$` or backslash itself.
    Raises IndexError for a group that does not exist, ValueError for a `$` or backslash that refers to nothing.
    """
    parts: list[str] = []
    end = start = 0
    length = len(text)
    # Unlike Python, Java looks for nothing more where it has found an empty text.
    while start <= len(text) and (match := expression.search(text, start)):
        parts += [text[end : match.start()], _expanded(replacement, match)]
        length += len(parts[-1])
        if length > most:
            raise OverflowError
        end = match.end()
        start = end + (match.end() == match.start())
    return "".join([*parts, text[end:]])


def _expanded(replacement: str, match: re.Match[str]) -> str:
    def one(reference: re.Match[str]) -> str:
        if reference["literal"] is not None:
            return reference["literal"]
        if reference["name"]:
            return match[reference["name"]] or ""
        if not reference["number"]:
            raise ValueError("a '$' or a backslash that refers to nothing")
        # As many digits as still name a group.
        digits = reference["number"]
        length = len(digits)
        while length > 1 and int(digits[:length]) > match.re.groups:
            length -= 1
        return (match[int(digits[:length])] or "") + digits[length:]

    return _REFERENCE.sub(one, replacement)
