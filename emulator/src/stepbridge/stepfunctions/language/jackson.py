"""Says why a text is not JSON, and where, in the words of Jackson, the parser that AWS uses.

https://github.com/FasterXML/jackson-core, ReaderBasedJsonParser: what it reports, and how far it has read by then.
"""

import re
from typing import NoReturn

_VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_WORD = re.compile(r"[\w$]+")
_SPACE = " \t\r\n"
_SHOWN = 500  # characters of the text that a location quotes


class NotJson(Exception):  # noqa: N818 (what the text is)
    """The mistake: Jackson's message, and the number of characters read."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


def find_mistake(text: str) -> NotJson | None:
    """The first mistake in `text`, or None if this finds none."""
    reader = _Reader(text)
    try:
        reader.value("root", reader.skip("root"))
        reader.end()
    except NotJson as mistake:
        return mistake
    except RecursionError:
        pass
    return None


def location(text: str, position: int) -> str:
    """Where `position` is, as Jackson writes it: the source, the line and the column of the next character."""
    more = f"[truncated {len(text) - _SHOWN} chars]" if len(text) > _SHOWN else ""
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return f'[Source: (String)"{text[:_SHOWN]}"{more}; line: {line}, column: {column}]'


class _Reader:
    """A text and how far it is read.  What is read last is `text[position - 1]`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def fail(self, message: str) -> NoReturn:
        raise NotJson(message, self.position)

    def unexpected(self, character: str, expected: str) -> NoReturn:
        self.fail(f"Unexpected character ({_described(character)}): {expected}")

    def next(self, at_end: str) -> str:
        """The next character; `at_end` says what to report if there is none."""
        if self.position >= len(self.text):
            self.fail(f"Unexpected end-of-input{at_end}")
        self.position += 1
        return self.text[self.position - 1]

    def skip(self, context: str, opened: int | None = None) -> str:
        """The next character that is no white space, in an array or object that was `opened` there."""
        while self.peek() and self.peek() in _SPACE:
            self.position += 1
        if not self.peek() and opened is not None:
            start = location(self.text, opened)
            self.fail(f"Unexpected end-of-input: expected close marker for {context} (start marker at {start})")
        character = self.next("" if context == "root" else f" within/between {context} entries")
        if ord(character) < 32:
            self.fail(
                f"Illegal character ({_described(character)}): only regular white space (\\r, \\n, \\t) is allowed "
                "between tokens"
            )
        return character

    def value(self, context: str, first: str) -> None:
        if first == '"':
            self.string("string value", ": was expecting closing quote for a string value")
        elif first == "{":
            self.members(self.position - 1)
        elif first == "[":
            self.items(self.position - 1)
        elif first == "-" or (first.isascii() and first.isdigit()):
            self.number(context, first)
        else:
            self.word(first)

    def word(self, first: str) -> None:
        match = _WORD.match(self.text, self.position - 1)
        word = match.group(0) if match is not None and not first.isdigit() else ""
        if word in ("true", "false", "null"):
            self.position += len(word) - 1
        elif word in ("NaN", "Infinity"):
            self.position += len(word) - 1
            self.fail(f"Non-standard token '{word}': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow")
        elif word:
            self.position += len(word) - 1
            self.fail(f"Unrecognized token '{word}': was expecting {_VALUES}")
        else:
            self.unexpected(first, f"expected a valid value {_VALUES}")

    def string(self, what: str, at_end: str) -> None:
        while (character := self.next(at_end)) != '"':
            if ord(character) < 32:
                self.fail(
                    f"Illegal unquoted character ({_described(character)}): has to be escaped using backslash to be "
                    f"included in {what}"
                )
            if character == "\\":
                self.escape()

    def escape(self) -> None:
        character = self.next(" in character escape sequence")
        if character == "u":
            for _ in range(4):
                digit = self.next(" in character escape sequence")
                if digit not in "0123456789abcdefABCDEF":
                    self.unexpected(digit, "expected a hex-digit for character escape sequence")
        elif character not in '"\\/bfnrt':
            self.fail(f"Unrecognized character escape {_described(character)}")

    def members(self, start: int) -> None:
        character = self.skip("Object", start)
        while character != "}":
            if character != '"':
                self.unexpected(character, "was expecting double-quote to start field name")
            self.string("name", " in field name")
            colon = self.skip("Object")
            if colon != ":":
                self.unexpected(colon, "was expecting a colon to separate field name and value")
            self.value("Object", self.skip("Object"))
            character = self.skip("Object", start)
            if character == ",":
                character = self.skip("Object")
                if character == "}":
                    self.unexpected(character, "was expecting double-quote to start field name")
            elif character == "]":
                self.mismatch("]", "}", "Object", start)
            elif character != "}":
                self.unexpected(character, "was expecting comma to separate Object entries")

    def items(self, start: int) -> None:
        character = self.skip("Array", start)
        while character != "]":
            if character == "}":
                self.mismatch("}", "]", "Array", start)
            self.value("Array", character)
            character = self.skip("Array", start)
            if character == ",":
                character = self.skip("Array")
                if character == "]":
                    self.unexpected(character, f"expected a valid value {_VALUES}")
            elif character not in "]}":
                self.unexpected(character, "was expecting comma to separate Array entries")

    def mismatch(self, found: str, expected: str, what: str, start: int) -> NoReturn:
        self.fail(
            f"Unexpected close marker '{found}': expected '{expected}' (for {what} starting at "
            f"{location(self.text, start)})"
        )

    def number(self, context: str, first: str) -> None:
        if first == "-":
            first = self.next(" in a Number value")
            if not first.isdigit():
                self.in_number(first, "expected digit (0-9) to follow minus sign, for valid numeric value")
        if first == "0" and self.peek().isdigit():
            self.position += 1
            self.fail("Invalid numeric value: Leading zeroes not allowed")
        self.digits()
        if self.peek() == ".":
            self.position += 1
            if not self.digits():
                self.in_number(self.next(" in a Number value"), "Decimal point not followed by a digit")
        if self.peek() in ("e", "E"):
            self.position += 1
            if self.peek() in ("+", "-"):
                self.position += 1
            if not self.digits():
                self.in_number(self.next(" in a Number value"), "Exponent indicator not followed by a digit")
        if context == "root" and self.peek() not in ("", *_SPACE):
            self.unexpected(self.next(""), "Expected space separating root-level values")

    def in_number(self, character: str, problem: str) -> NoReturn:
        self.fail(f"Unexpected character ({_described(character)}) in numeric value: {problem}")

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def digits(self) -> int:
        start = self.position
        while self.peek().isascii() and self.peek().isdigit():
            self.position += 1
        return self.position - start

    def end(self) -> None:
        """Nothing but white space may follow."""
        while self.position < len(self.text):
            character = self.next("")
            if character not in _SPACE:
                self.value("root", character)
                self.unexpected(character, "was expecting the end of the text")


def _described(character: str) -> str:
    if ord(character) < 32:
        return f"(CTRL-CHAR, code {ord(character)})"
    return f"'{character}' (code {ord(character)})"
