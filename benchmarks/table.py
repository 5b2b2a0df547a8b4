"""A table of figures with the ratios to the first row."""


class Table:
    """Rows are systems; the first is ours."""

    def __init__(self, title: str, columns: list[str]) -> None:
        self._title = title
        self._columns = columns
        self._rows: list[tuple[str, list[float | None]]] = []

    def add(self, name: str, figures: list[float | None]) -> None:
        """One system's figures, None where it has none."""
        self._rows.append((name, figures))

    def show(self) -> None:
        """Print it; behind each figure of a peer, what ours is to it."""
        print(f"{self._title:12}" + "".join(f"{column:>26}" for column in self._columns))
        ours = self._rows[0][1]
        for name, figures in self._rows:
            cells = [_cell(figure, own, name == self._rows[0][0]) for figure, own in zip(figures, ours, strict=True)]
            print(f"{name:12}" + "".join(f"{cell:>26}" for cell in cells))


def _cell(figure: float | None, ours: float | None, is_ours: bool) -> str:
    if figure is None:
        return "-"
    text = f"{figure:,.1f}"
    if is_ours or not ours:
        return text
    return f"{text} (ours/it {ours / figure:.2f})"
