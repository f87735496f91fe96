"""Numbers as the cells of Markdown tables."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, ...]


def table(rows: Iterator[Row]) -> Iterator[str]:
    """Yields the lines of a table, whose first row is the header."""
    header, *body = rows
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in body:
        yield "| " + " | ".join(row) + " |"


def ratio(spread: dict[str, Any]) -> str:
    """Returns the median and the quartiles of a ratio."""
    low, high = spread["quartiles"]
    return f"{spread['median']:.2f} [{low:.2f}, {high:.2f}]"


def number(value: float) -> str:
    """Returns three digits, or whole numbers."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
