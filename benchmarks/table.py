"""Figures as text: percentiles, and plain tables with figures and goals."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

WIDEST_FILL = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `met` says whether it reaches its goal; None if it has no goal."""

    what: str
    figure: str
    goal: str = ""
    met: bool | None = None


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` % of the values do not exceed; 0 of no values."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def print_goals(title: str, rows: Sequence[Row]) -> None:
    """Print one figure per line: its name, the figure, its goal, and whether it is met."""
    words = {True: "met", False: "MISSED", None: ""}
    print_table(title, ("", "figure", "goal", ""), [(r.what, r.figure, r.goal, words[r.met]) for r in rows])


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column flush left and the others flush right."""
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    print(f"\n{title}")
    for number, line in enumerate(lines):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        cells[0] = line[0].ljust(widths[0])
        print("  " + (" " * WIDEST_FILL).join(cells).rstrip())
        if number == 0:
            print("  " + "-" * (sum(widths) + WIDEST_FILL * (len(widths) - 1)))


def print_circumstances(name: str) -> None:
    """Print the circumstances. The load at the start tells how reliable the figures are."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n=== {name}: Python {platform.python_version()}, {os.cpu_count()} cores, load {load}", flush=True)
