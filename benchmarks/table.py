"""Tables of results, as Markdown that reads well on a terminal too."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        title: What was measured.
        header: The columns' names; the first column is aligned to the left, the others to the right.
        rows: The cells.
        notes: How to read it, a sentence each.
        problems: What broke a limit; empty where all is well.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()

    def markdown(self) -> str:
        """The table with its title and notes."""
        notes = [*self.notes, *(f"**Limit broken: {problem}**" for problem in self.problems)]
        return "\n".join([f"## {self.title}", "", *self._lines(), "", *(f"- {note}" for note in notes)])

    def _lines(self) -> Iterator[str]:
        cells = [self.header, *self.rows]
        widths = [max(3, *(len(row[at]) for row in cells)) for at in range(len(self.header))]
        yield _line(self.header, widths)
        yield _line(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], widths)
        for row in self.rows:
            yield _line(row, widths)


def spread(values: Sequence[float], unit: str = "") -> str:
    """The median, with the smallest and the largest value."""
    return f"{figure(statistics.median(values))}{unit} ({figure(min(values))}-{figure(max(values))})"


def figure(value: float) -> str:
    """A number with as many decimals as say something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def count(value: float) -> str:
    """An exact count for each step: without decimals where it is whole."""
    return f"{value:.0f}" if abs(value - round(value)) < 0.005 else f"{value:.2f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    return (
        "| "
        + " | ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))])
        + " |"
    )
