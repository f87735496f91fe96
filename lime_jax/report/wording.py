"""The words of the report: what numbers say, and no more than they show."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lime_jax.core.explanation import Status

_GOOD, _FAIR = 0.8, 0.5  # of R²
_HARDLY_SURE = 0.5  # of a probability that is promised
_DIGITS = 3  # significant ones of the largest weight
_MOST_DECIMALS = 6
_KINDS = {
    "time": "time segments",
    "frequency": "frequency bands",
    "grid": "time-frequency tiles",
    "superpixels": "superpixels of the spectrogram",
    "stems": "stems",
    "stems-time": "stem segments",
}


def number(value: float | None) -> str:
    """Returns three significant digits; a dash for what is undefined."""
    return _minus("–" if value is None else f"{value:.3g}")


def ratio(value: float | None) -> str:
    """Returns a fidelity with two decimals; a dash for what is undefined."""
    return _minus("–" if value is None else f"{value:.2f}")


def format_signed(values: Iterable[float | None]) -> list[str]:
    """Returns weights with their signs and as many decimals, so that they can be compared.

    Example:
      >>> format_signed([0.5, 0.07, None])
      ['+0.500', '+0.070', '–']
    """
    values = list(values)
    form = _common_form(values)
    return [_minus("–" if value is None else f"{value:+{form}}") for value in values]


def errors(values: Iterable[float | None], weights: Iterable[float | None]) -> list[str]:
    """Returns standard errors with the decimals of their weights; "exact" without sampling.

    Example:
      >>> errors([0.02, 1e-5, 0.0], [0.5, 0.07, -0.2])
      ['±0.020', '< 0.001', 'exact']
    """
    form = _common_form(weights)
    return [_error(value, form) for value in values]


def intervals(ends: Iterable[Sequence[float | None]], weights: Iterable[float | None]) -> list[str]:
    """Returns confidence intervals with the decimals of their weights; "exact" without width.

    Example:
      >>> intervals([[0.46, 0.54], [-0.2, -0.2]], [0.5, -0.2])
      ['+0.460 to +0.540', 'exact']
    """
    form = _common_form(weights)
    return [_interval(low, high, form) for low, high in ends]


def certainty(output: Mapping[str, Any], is_exact: bool) -> str:
    """Says how sure it is that the top components are the right ones.

    Example:
      >>> certainty({"top_k_confidence": 0.987}, is_exact=False)
      '≥ 98 %'
    """
    value = output["top_k_confidence"]
    if is_exact or value is None:
        return "exact" if is_exact else "–"
    # Rounded down: what stands there is a promise.
    return f"≥ {math.floor(100 * value):d} %"


def cost(record: Mapping[str, Any]) -> str:
    """Says what the explanation cost, and what plain LIME would have taken for the same errors."""
    evaluations, samples = record["num_evaluations"], record["num_samples"]
    if record["is_exact"]:
        return f"{evaluations:,} evaluations of the model: exact, without sampling error"
    needed = [output["num_lime_samples"] for output in record["outputs"]]
    needed = [number for number in needed if number is not None]
    text = f"{evaluations:,} evaluations of the model for {samples:,} samples"
    if not needed or (least := min(needed)) == samples:
        return text
    return f"{text}; LIME would take about {float(f'{least:.2g}'):,.0f} for the same errors"


def extents(component: Mapping[str, Any], audio: Mapping[str, Any]) -> list[str]:
    """Returns time and frequencies of a component, where it does not have all of the sound."""
    texts = []
    if component["start"] > 0 or component["end"] < audio["duration"]:
        texts.append(f"{round(component['start'], 2):g}–{round(component['end'], 2):g} s")
    if component["low"] > 0 or component["high"] < audio["sample_rate"] / 2:
        texts.append(f"{component['low']:.0f}–{component['high']:.0f} Hz")
    return texts


def label(component: Mapping[str, Any], audio: Mapping[str, Any]) -> str:
    """Returns what to call a component, for example "drums" or "T3 (2–3 s)"."""
    where = ", ".join(extents(component, audio))
    return f"{component['name']} ({where})" if where else component["name"]


def components(num_components: int, kind: str) -> str:
    """Says what the sound was cut into, for example "5 stems"."""
    noun = _KINDS.get(kind, "components")
    return f"{num_components} {noun}"


def procedure(outputs: Sequence[Mapping[str, Any]]) -> str:
    """Says how components were removed; without standard errors nothing was left to chance.

    Args:
      outputs: those in the record.
    """
    explained = [output for output in outputs if output["status"] == Status.OK.name]
    if explained and not any(error for output in explained for error in output["std_error"]):
        return "Parts of the sound were removed in every combination"
    return "Parts of the sound were removed many times at random"


def headline(output: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Says in one or two sentences what explains one output.

    Args:
      output: an entry of `outputs` in the record.
      labels: what to call each component.
    """
    score = f"The model gives “{output['name']}” a score of {number(output['prediction'])}."
    if output["status"] != Status.OK.name:
        return f"{score} What it listened to could not be determined."
    if not output["top_components"]:
        return f"{score} No component speaks for it: none has a positive weight."
    best = output["top_components"][0]
    weight = output["coefficients"][best]
    share = weight / sum(abs(value or 0.0) for value in output["coefficients"])
    return (
        f"{score} What raises it most is “{labels[best]}”: weight +{number(weight)}, "
        f"{share:.0%} of the absolute weight of all components."
    )


def fidelity(value: float | None) -> str:
    """Says how far the weights can be trusted to describe the model here."""
    if value is None:
        return "The fidelity is undefined: nothing says how well the weights describe the model."
    if value >= _GOOD:
        quality = "closely follows"
    elif value >= _FAIR:
        quality = "roughly follows"
    else:
        quality = "barely follows"
    return (
        f"When parts of this sound are removed, the sum of the weights {quality} the score of the "
        f"model (fidelity, weighted R²: {ratio(value)})."
    )


def warnings(output: Mapping[str, Any]) -> list[str]:
    """Returns what a reader must know before believing the weights of one output."""
    if output["status"] != Status.OK.name:
        return [f"Do not read these weights: {Status[output['status']].advice}"]
    texts = []
    if _has_low_fidelity(output):
        texts.append(
            "Low fidelity: the model does not simply add up these components, so the weights "
            "describe it poorly. Try other components, or fewer and larger ones."
        )
    if _is_noise(output):
        texts.append(
            "The largest positive weight is within twice its standard error of zero. Use more "
            "samples, or fewer components."
        )
    if refuting := _refuting(output):
        texts.append(
            "That the component of largest weight speaks for the output hangs on what stands in "
            f"for removed parts: with {_join([f'“{name}”' for name in refuting])} it does not."
        )
    return texts


def cautions(output: Mapping[str, Any]) -> list[str]:
    """Returns the `warnings` of an output in two or three words each, for a line of a table."""
    conditions = {
        "low fidelity": _has_low_fidelity(output),
        "within noise": _is_noise(output),
        "hangs on the fill": bool(_refuting(output)),
    }
    return [name for name, applies in conditions.items() if applies]


def because(output: Mapping[str, Any], names: Sequence[str]) -> str:
    """Returns the top components with weights and, where masks were drawn, standard errors.

    Example:
      >>> output = {"top_components": [1], "coefficients": [0.0, 0.5], "std_error": [0.0, 0.02]}
      >>> because(output, ["bass", "drums"])
      'drums +0.500 ±0.020'
    """
    weights = format_signed(output["coefficients"])
    margins = errors(output["std_error"], output["coefficients"])

    def phrase(i: int) -> str:
        margin = margins[i].removeprefix("±").replace(" ", "") if output["std_error"][i] else ""
        return f"{names[i]} {weights[i]}" + (f" ±{margin}" if margin else "")

    return ", ".join(map(phrase, output["top_components"]))


def silence(output: Mapping[str, Any]) -> str:
    """Says why there is no sound of an explanation; empty if there is one."""
    if output["top_components"]:
        return ""
    if output["status"] != Status.OK.name:
        return "There is no sound that explains this score, because the weights mean nothing."
    return "There is no sound that explains this score, because no weight is positive."


def stability(record: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    """Says how far the repeats of an explained output agree.

    Args:
      record: with `num_repeats`.
      output: an entry of its `outputs`, with `stability`.
    """
    repeats, stable = record["num_repeats"], output["stability"]
    alike = round(stable["agreement"] * repeats)
    if repeats == 1:
        return " ".join(filter(None, ("The sound was explained once.", _assurance(record, output))))
    text = f"The sound was explained {repeats} times with other masks; the weights are the mean."
    if stable["u_n"] == 0:
        return f"{text} No repeat finds a component of positive weight."
    if alike == repeats:
        text += f" All repeats name the same top {stable['u_n']}."
    else:
        text += (
            f" The top {record['top_k']} of the repeats are {stable['u_n']} different components "
            f"(U_n); {alike} of {repeats} repeats name the same ones as the mean."
        )
    return " ".join(filter(None, (text, _assurance(record, output))))


def fills(record: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    """Says how much of an explained output hangs on what stands in for removed components.

    Args:
      record: with `fills`.
      output: an entry of its `outputs`, with `fills` and `spread`.
    """
    num_top = len(output["top_components"])
    names = _join([f"“{name}”" for name in record["fills"]])
    text = f"Removed parts were replaced by {names} in turn; the weights are the average over them."
    best = set(output["top_components"])
    differing = [fill for fill in output["fills"] if set(fill["top_components"]) != best]
    if not differing:
        return f"{text} Each of them by itself names the same top {num_top}." if best else text
    if not best:
        speaking = _join([f"“{fill['name']}”" for fill in differing])
        return f"{text} Only with {speaking} is any weight positive."
    shared = _join([_share_of_fill(fill) for fill in differing])
    return f"{text} The top {num_top} of the average shares {shared} (N_ce)."


def _share_of_fill(fill: Mapping[str, Any]) -> str:
    number = len(fill["top_components"])
    top = f"the top {number}" if number else "the empty top"
    return f"{fill['n_ce']} with {top} of “{fill['name']}”"


def _assurance(record: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    value, top = output["top_k_confidence"], record["top_k"]
    if record["is_exact"] or value is None:
        return "The weights are exact: other masks change nothing." if record["is_exact"] else ""
    text = f"that these are the {top} components of largest weight"
    if value < _HARDLY_SURE:
        return f"Nothing assures {text}: use more samples or repeats, or fewer components."
    return f"The probability {text} is at least {math.floor(100 * value):d} %."


def _refuting(output: Mapping[str, Any]) -> list[str]:
    """The fills with which the component that the headline names does not speak for the output."""
    if not output["top_components"]:
        return []
    best = output["top_components"][0]
    return [
        fill["name"] for fill in output.get("fills", []) if (fill["coefficients"][best] or 0.0) <= 0
    ]


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _has_low_fidelity(output: Mapping[str, Any]) -> bool:
    return output["fidelity"] is None or output["fidelity"] < _FAIR


def _is_noise(output: Mapping[str, Any]) -> bool:
    """Whether the weight that the headline names may as well be zero."""
    if not output["top_components"]:
        return False
    best = output["top_components"][0]
    return output["coefficients"][best] < 2 * (output["std_error"][best] or 0.0)


def _interval(low: float | None, high: float | None, form: str) -> str:
    if low is None or high is None:
        return "–"
    return "exact" if low == high else _minus(f"{low:+{form}} to {high:+{form}}")


def _error(value: float | None, form: str) -> str:
    if value is None or value == 0:
        return "–" if value is None else "exact"
    text = f"{value:{form}}"
    return _minus(f"±{text}" if float(text) else f"< {text[:-1]}1")


def _common_form(values: Iterable[float | None]) -> str:
    largest = max((abs(value) for value in values if value), default=1.0)
    decimals = _DIGITS - 1 - math.floor(math.log10(largest))
    return f".{max(decimals, 0)}f" if decimals <= _MOST_DECIMALS else f".{_DIGITS - 1}e"


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
