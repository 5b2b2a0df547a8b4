"""The error of a statement or template that cannot be accepted, with its place."""


class SqlError(Exception):
    """A statement that is refused.

    `line` and `column` count from 1 and point at the first character that is wrong; `problem` says what is wrong
    there and what was expected.
    """

    def __init__(self, problem: str, text: str, position: int) -> None:
        self.problem = problem
        self.line = text.count("\n", 0, position) + 1
        self.column = position - text.rfind("\n", 0, position)
        super().__init__(f"{problem} (line {self.line}, column {self.column})")
