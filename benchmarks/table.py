"""Tables of results and their goals, as Markdown that reads well on a terminal too."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a figure should be; one that is missed is said, and breaks nothing.

    Attributes:
        what: The figure.
        value: As measured.
        bound: The largest good value, or the smallest.
        least: Whether the bound is the smallest.
    """

    what: str
    value: float
    bound: float
    least: bool = False

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"at {'least' if self.least else 'most'} {count(self.bound)}"

    @property
    def met(self) -> str:
        """`met` or `missed`."""
        good = self.value >= self.bound if self.least else self.value <= self.bound
        return "met" if good else "missed"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        title: What was measured.
        header: The columns' names; the first column is aligned to the left, the others to the right.
        rows: The cells.
        notes: How to read it, a sentence each.
        goals: What its figures should be.
        problems: What broke a limit; empty where all is well.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    goals: Sequence[Goal] = ()
    problems: Sequence[str] = ()

    def markdown(self) -> str:
        """The table with its title and notes."""
        goals = (f"Goal: {one.what}, {one.wanted}: {figure(one.value)}, {one.met}." for one in self.goals)
        notes = [*self.notes, *goals, *(f"**Limit broken: {problem}**" for problem in self.problems)]
        return "\n".join([f"## {self.title}", "", *self._lines(), "", *(f"- {note}" for note in notes)])

    def _lines(self) -> Iterator[str]:
        cells = [self.header, *self.rows]
        widths = [max(3, *(len(row[at]) for row in cells)) for at in range(len(self.header))]
        yield _line(self.header, widths)
        yield _line(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], widths)
        for row in self.rows:
            yield _line(row, widths)


def summary(tables: Sequence[Table]) -> Table:
    """All goals in one table."""
    rows = [(one.what, one.wanted, figure(one.value), one.met) for table in tables for one in table.goals]
    return Table(title="Goals", header=("figure", "goal", "measured", "result"), rows=rows)


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """The ratio of each two that were measured one after the other."""
    return [value / other for value, other in zip(values, base, strict=True)]


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
