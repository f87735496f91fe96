"""The tables of `receptive_field` and `coverage`."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, ...]


def receptive_field(numbers: dict[str, Any]) -> Iterator[Row]:
    """What windows save, and that nothing is lost."""
    yield "what", "evaluations", "seconds", "times faster", "largest difference"
    local = numbers["trunk_and_head"]
    whole, windows = (local["ways"][name] for name in ("whole excerpts", "windows"))
    masks = f"{local['num_masks']:,} masks"
    yield f"SVDNet, {masks}, whole excerpts", masks, f"{whole['median']:.3g}", "1", ""
    low, high = windows["ratio"]["quartiles"]
    yield (
        f"SVDNet, {masks}, windows",
        f"{local['num_windows']} windows",
        f"{windows['median']:.3g}",
        f"{windows['ratio']['median']:.1f} [{low:.1f}, {high:.1f}]",
        f"{local['difference_of_outputs']:.1e} (outputs)",
    )
    for name, reason in numbers.get("left_out", {}).items():
        yield name, reason, "", "", ""
    if "sums" not in numbers:
        return
    sums = numbers["sums"]
    brute = sums["brute_force"]
    for name, answer in sums["answers"].items():
        yield (
            f"{sums['model']}, 30 s, {answer['num_components']} components, exact {name}",
            f"{answer['num_evaluations']} snippets",
            f"{answer['s']:.3g}",
            "",
            f"{brute['differences'][name]:.1e} (all masks of {brute['num_components']} components)",
        )
    sampled = sums["sampled"]
    yield (
        f"the same, LIME with {sampled['num_samples']:,} samples, looked up",
        "320 snippets",
        f"{sampled['s']:.3g}",
        "",
        f"{sampled['largest_error_in_standard_errors']:.1f} standard errors; "
        f"{sampled['inside_95_percent_intervals']:.0%} inside 95 % intervals",
    )


def coverage(numbers: dict[str, Any]) -> Iterator[Row]:
    """How often intervals hold, and promises."""
    yield "model", "what", "holds", "least and most, by coefficient", "evaluations", "as LIME"
    for name, one in numbers["models"].items():
        for sampler, found in one["coverage"].items():
            low, high = found["range_over_coefficients"]
            yield (
                name,
                f"95 % intervals, {sampler}",
                f"{found['coverage']:.1%}",
                f"{low:.1%} to {high:.1%}",
                f"{found['num_evaluations']:,.0f}",
                "",
            )
        for target, found in one["stopping"].items():
            met, everywhere = found["met"], found["met_by_all_coefficients"]
            sure = found.get("share_sure")
            yield (
                name,
                f"stopped at {target}",
                "never sure" if met is None else f"{met:.1%}",
                f"sure in {sure:.0%} of outputs and runs"
                if everywhere is None
                else f"all coefficients at once: {everywhere:.1%}",
                f"{found['num_evaluations']:,.0f}",
                f"{found['num_lime_samples']:,.0f}",
            )
    for name, reason in numbers["left_out"].items():
        yield name, reason, "", "", "", ""


def layers(numbers: dict[str, Any]) -> Iterator[Row]:
    """What is computed layer by layer, by the number of sources that play."""
    yield (
        "sources that play", "passes of first to last layer", "seconds", "mask by mask, seconds",
        "times faster", "largest difference of outputs",
    )  # fmt: skip
    for case in numbers["cases"]:
        low, high = case["ratio"]["quartiles"]
        passes = ", ".join(f"{one:.0f}" for one in case["passes"])
        yield (
            str(case["num_playing"]),
            passes,
            f"{case['layers_s']['median']:.3g}",
            f"{case['masks_s']['median']:.3g}",
            f"{case['ratio']['median']:.0f} [{low:.0f}, {high:.0f}]",
            f"{case['difference_of_outputs']:.1e}",
        )


def lemons(numbers: dict[str, Any]) -> Iterator[Row]:
    """Seconds from the click to the answer, in a server with an empty cache."""
    yield "what", "first, which compiles, s", "other songs, s", "again, s"
    names = {"time-source": "Time + Source, asked first", "source": "Source", "time": "Time"}
    for kind, one in numbers["kinds"].items():
        name = names[kind]
        low, high = one["further_s"]["range"]
        yield (
            name,
            f"{one['first_s']:.1f}",
            f"{one['further_s']['median']:.1f} [{low:.1f} to {high:.1f}]",
            f"{one['cached_s']['median']:.3f}",
        )
    clients = numbers["clients"]
    low, high = clients["page_and_song_s"]["range"]
    yield (
        f"{clients['num_clients']} clients at once: page, song and its sound",
        "",
        f"{clients['page_and_song_s']['median']:.1f} [{low:.1f} to {high:.1f}]",
        "",
    )
    low, high = clients["with_explanation_s"]["range"]
    yield (
        f"the same, with an explanation each; {clients['errors']} errors",
        "",
        f"{clients['with_explanation_s']['median']:.1f} [{low:.1f} to {high:.1f}]",
        "",
    )
