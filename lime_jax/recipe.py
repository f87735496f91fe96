"""What the options of a command ask for: the model, the method, the outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lime_jax import models
from lime_jax import separation
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.masks.sequential import auto
from lime_jax.core.methods import Method
from lime_jax.core.methods import exhaustive
from lime_jax.core.methods import lime
from lime_jax.errors import LimeJaxError, ModelError, unknown_name
from lime_jax.settings import Question, Separation

# All masks are few: the ridge then shrinks the weights more than LIME's does at its own default.
EQUIVALENT_NUM_SAMPLES = 1000


def method_of(question: Question, outputs: str, names: Sequence[str] | None) -> Method:
    """How to explain; the names of the outputs are only known once the model is there."""
    parts: dict[str, Any] = {
        "kernel_width": question.kernel_width,
        "distance": question.distance,
        "alpha": question.alpha,
    }
    if question.num_samples == "exhaustive":
        return exhaustive(equivalent_num_samples=EQUIVALENT_NUM_SAMPLES, **parts)
    if question.num_samples == "auto":
        enough = auto(
            std_error=question.std_error,
            top_k=None if question.confidence is None else question.top_k,
            confidence=0.95 if question.confidence is None else question.confidence,
            outputs=_target_outputs(outputs, names) if names else None,
            equivalent_num_samples=EQUIVALENT_NUM_SAMPLES,
            max_evaluations=question.max_evaluations or 70_000,
        )
        return lime(enough, **parts)
    return lime(question.num_samples, **parts)


def separator_of(config: Separation) -> separation.Separator | None:
    """The separator asked for, or None.

    Raises:
      LimeJaxError: if there is no such separator, or its weights cannot be used.
      ValueError: if an option is impossible.
    """
    if config.separator_command is not None:
        return separation.Command.from_line(config.separator_command)
    if config.separator is None:
        return None
    return separation.load(
        config.separator, checkpoint=config.separator_weights, crossfade=config.crossfade
    )


def in_snippets(model: Any, question: Question, seconds: float) -> models.Snippets:
    """The model that hears snippets, each on its own.

    Raises:
      ModelError: for a host model.
      ValueError: for snippets too short for the model.
    """
    if isinstance(model, HostModel):
        raise ModelError(f"`--snippet` does not go with `{question.model}`, which is a host model.")
    return models.Snippets(model, snippet_size(model, question, seconds))


def snippet_size(model: Any, question: Question, seconds: float) -> int:
    """Samples of a snippet of so many seconds.

    Raises:
      ValueError: if they are too few for the model.
    """
    num_samples, shortest = round(seconds * model.sample_rate), shortest_input(model)
    if num_samples < shortest:
        raise ValueError(
            f"`--snippet` must be at least {shortest / model.sample_rate:.3f} s for "
            f"{question.model}, got {seconds:g}."
        )
    return num_samples


def shortest_input(model: Any) -> int:
    """The fewest samples that a model can judge, as far as it says so."""
    return getattr(model, "patch_num_samples", 1)


def too_short(what: str, num_samples: int, model: Any, name: str) -> str:
    """A sentence for sound that is shorter than `shortest_input`; empty if it is not."""
    shortest = shortest_input(model)
    if num_samples >= shortest:
        return ""
    return (
        f"`{what}` gives {num_samples / model.sample_rate:.2f} s, but {name} needs at least "
        f"{shortest / model.sample_rate:.2f} s. Use a longer excerpt or another model."
    )


def wanted_outputs(text: str, names: Sequence[str], prediction: np.ndarray) -> tuple[int, ...]:
    """The indices that `all`, `top:N` or a list of names stands for."""
    if text == "all":
        return tuple(range(len(names)))
    if text.startswith("top:"):
        # NaN counts as lowest, so that a broken output is not the first one shown.
        order = np.argsort(-np.nan_to_num(prediction, nan=-np.inf), kind="stable")
        return tuple(int(index) for index in order[: _count(text)])
    wanted = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not wanted:
        raise ValueError("`--outputs` is empty. Use all, top:N or names separated by commas.")
    return tuple(dict.fromkeys(_output_index(entry, names) for entry in wanted))


def _count(text: str) -> int:
    count = text.removeprefix("top:")
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"`--outputs` must be top:N with a number N, or names, got {text!r}.")
    return int(count)


def _target_outputs(text: str, names: Sequence[str]) -> tuple[int, ...] | int:
    """The outputs that are reported, whose errors must be small: how many, or which."""
    chosen = wanted_outputs(text, names, np.zeros(len(names)))
    return len(chosen) if text.startswith("top:") else chosen


def _output_index(entry: str, names: Sequence[str]) -> int:
    """Of the output of that name, in another case only where a single one is meant."""
    if entry in names:
        return names.index(entry)
    alike = [name for name in names if name.casefold() == entry.casefold()]
    if len(alike) > 1:
        raise LimeJaxError(
            f"`--outputs` {entry!r} could be {' or '.join(map(repr, alike))}. Write it exactly."
        )
    if not alike:
        raise LimeJaxError(unknown_name("output", entry, names))
    return names.index(alike[0])
