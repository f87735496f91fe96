"""The measured parts of docs/sampling.md, made from the stored results."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import few_masks

PAGE = Path(__file__).parents[1] / "docs" / "sampling.md"

Row = tuple[str, ...]
Case = dict[str, Any]
Table = Callable[[Iterator[Row]], Iterator[str]]


def sampling_page(stored: dict[str, Any], table: Table) -> str:
    """Returns the page with its blocks filled.

    Args:
      stored: results by name.
      table: makes Markdown of rows.
    """
    text = PAGE.read_text(encoding="utf-8")
    for name, block in (("designs", _block), ("few_masks", _few_masks)):
        start, stop = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = text.split(start)
        _, after = rest.split(stop)
        result = stored.get(name)
        lines = ["Not measured yet."] if result is None else block(result, table)
        text = "\n".join([before + start, *lines, stop + after])
    return text


def _few_masks(result: dict[str, Any], table: Table) -> list[str]:
    machine = result["machine"]
    runs = result["numbers"]["num_runs"]
    where = f"{machine['device']}, jax {machine['versions']['jax']}, {machine['date']}"
    return [f"{runs:,} runs each. {where}.", "", *table(few_masks.rows(result["numbers"]))]


def rows(numbers: dict[str, Any]) -> Iterator[Row]:
    """Errors of coins and arrays at every size that both have."""
    yield "network", "components", "masks", "error, coins", "error, arrays", "coins per array mask"
    for case in numbers["cases"]:
        for fewer in case["coins_per_array_mask"]:
            size = fewer["num_samples"]
            errors = (_error(case, name, size) for name in ("fair coins", "orthogonal arrays"))
            yield (*_head(case), f"{size:,}", *errors, _times(fewer))
    for name, reason in numbers["left_out"].items():
        yield name, reason, "", "", "", ""


def point(case: Case, sampler: str, size: int) -> dict[str, Any] | None:
    """Returns what was measured of a sampler at a size."""
    for one in case["points"]:
        if one["sampler"] == sampler and one["num_samples"] == size:
            return one
    return None


def one_array(case: Case) -> int:
    """Returns the masks of the smallest design of a case."""
    return case["coins_per_array_mask"][0]["num_samples"]


def _block(result: dict[str, Any], table: Table) -> list[str]:
    numbers, machine = result["numbers"], result["machine"]
    repeats = sorted({case["repeats"] for case in numbers["cases"]}, reverse=True)
    sound = "the shipped song" if numbers["clip"] == "shipped song" else "a clip of our own"
    random = sorted({case["network"] for case in numbers["cases"] if case["weights"] == "random"})
    left_out = (f"{name} ({reason})" for name, reason in numbers["left_out"].items())
    return [
        f"10 and 14 components are segments of {sound}, 25 and 50 are five stems of five and ten",
        f"snippets. {' or '.join(map(str, repeats))} runs each; the five highest outputs.",
        *([f"Random weights, and noise for sound: {', '.join(random)}."] if random else []),
        *([f"Left out: {', '.join(left_out)}."] if numbers["left_out"] else []),
        f"{machine['device']}, jax {machine['versions']['jax']}, {machine['date']}.",
        "",
        "One array against as many fair coins; in brackets, at the largest size measured. *Coins",
        "per mask* is how many coins do what one mask of one array does: the ratio of the squared",
        "errors, with quartiles from resampling the runs.",
        "",
        *table(_arrays(numbers)),
        "",
        "Kernel SHAP against exact Shapley values, in units of those:",
        "",
        *table(_kernel_shap(numbers)),
        "",
        "![Errors over evaluations](pictures/error-over-evaluations.png)",
        "",
        "![How often the three strongest components are right](pictures/top-3-right.png)",
    ]


def _arrays(numbers: dict[str, Any]) -> Iterator[Row]:
    yield (
        "network", "components", "masks", "error, coins", "error, arrays", "coins per mask",
        "top 3 right, coins", "top 3 right, arrays",
    )  # fmt: skip
    for case in numbers["cases"]:
        first, last = (case["coins_per_array_mask"][i] for i in (0, -1))
        size, most = first["num_samples"], last["num_samples"]
        both = ("fair coins", "orthogonal arrays")
        yield (
            *_head(case),
            f"{size:,} ({most:,})",
            *(f"{_error(case, name, size)} ({_error(case, name, most)})" for name in both),
            _times(first),
            *(_right(case, name, size) for name in both),
        )


def _kernel_shap(numbers: dict[str, Any]) -> Iterator[Row]:
    yield "network", "components", "masks", "error", "top 3 right"
    for case in numbers["cases"]:
        size = one_array(case)
        error, right = (cell(case, "kernel SHAP", size) for cell in (_error, _right))
        yield *_head(case), f"{size:,}", error, right


def _head(case: Case) -> Row:
    note = ", random weights" if case["weights"] == "random" else ""
    return case["network"] + note, str(case["num_components"])


def _error(case: Case, sampler: str, size: int) -> str:
    found = point(case, sampler, size)
    if found is None:
        return ""
    digits = f"{100 * found['relative_error']:#.2g}"
    return f"{digits.rstrip('.')} %"


def _right(case: Case, sampler: str, size: int) -> str:
    found = point(case, sampler, size)
    return "" if found is None else f"{100 * found['top_3_right']:.0f} %"


def _times(fewer: dict[str, Any]) -> str:
    low, high = fewer["quartiles"]
    return f"{fewer['ratio']:.0f} [{low:.0f}, {high:.0f}]"
