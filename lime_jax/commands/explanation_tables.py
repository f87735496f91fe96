"""What a person reads in the terminal after an explanation."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lime_jax.commands import terminal

if TYPE_CHECKING:
    from rich.table import Table


def show(page: Path) -> int:
    """Prints what a report says, given its page; returns 1 if no output could be explained."""
    from rich.console import Console

    from lime_jax import report
    from lime_jax.report import wording

    record = report.read(page.parent)
    console = Console()
    console.print(_outputs(record))
    for table in (_agreement(record), _by_fill(record)):
        if table is not None:
            console.print()
            console.print(table)
    number = len(record["components"])
    console.print(f"{number} components, {wording.cost(record)}", highlight=False)
    console.print(f"report: {page}", highlight=False, soft_wrap=True, markup=False)
    is_explained = any(_is_ok(output) for output in record["outputs"])
    return 0 if is_explained else terminal.fail("no output could be explained; see above.", code=1)


def _outputs(record: Mapping[str, Any]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from lime_jax.report import wording

    top = f"top {record['top_k']} right"
    table = Table("output", "prediction", "surrogate", "fidelity", top, "because of", box=None)
    for output in record["outputs"]:
        numbers = (output[key] for key in ("prediction", "local_prediction", "fidelity"))
        sure = wording.certainty(output, record["is_exact"]) if _is_ok(output) else "–"
        reason = _reason(record, output)
        table.add_row(escape(output["name"]), *map(_number, numbers), sure, escape(reason))
    return table


def _reason(record: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    from lime_jax.core.explanation import Status
    from lime_jax.report import wording

    if not _is_ok(output):
        return f"not explained: {terminal.in_flags(Status[output['status']].advice)}"
    reason = _because(record, output)
    cautions = ", ".join(wording.cautions(output))
    return f"{reason} (caution: {cautions})" if cautions else reason


def _agreement(record: Mapping[str, Any]) -> "Table | None":
    """How far repeats agree; None where there are none."""
    from rich.markup import escape
    from rich.table import Table

    if "num_repeats" not in record:
        return None
    repeats, top = record["num_repeats"], f"top {record['top_k']}"
    times = "1 repeat" if repeats == 1 else f"{repeats} repeats"
    table = Table("output", f"in the {top} of {times} (U_n)", f"same {top}", box=None)
    for output in filter(_is_ok, record["outputs"]):
        stability = output["stability"]
        alike = f"{round(stability['agreement'] * repeats)} of {repeats}"
        table.add_row(escape(output["name"]), f"{stability['u_n']} components", alike)
    return table


def _by_fill(record: Mapping[str, Any]) -> "Table | None":
    """What each fill says; None where there is just one."""
    from rich.markup import escape
    from rich.table import Table

    if "fills" not in record:
        return None
    table = Table("output", "fill", "shared (N_ce)", "because of", box=None)
    for output in filter(_is_ok, record["outputs"]):
        num_top = len(output["top_components"])
        mean = _because(record, {**output, "std_error": output["spread"]})
        table.add_row(escape(output["name"]), "average ± spread", "", escape(mean))
        for fill in output["fills"]:
            shared = f"{fill['n_ce']} of {num_top}"
            table.add_row("", fill["name"], shared, escape(_because(record, fill)))
    return table


def _because(record: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    from lime_jax.report import wording

    names = [component["name"] for component in record["components"]]
    return wording.because(output, names) or "nothing speaks for it"


def _is_ok(output: Mapping[str, Any]) -> bool:
    return output["status"] == "OK"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
