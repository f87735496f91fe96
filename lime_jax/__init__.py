"""Why did the model say that? LIME for audio in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

from lime_jax import errors
from lime_jax.core import fills, metrics, receptive_fields
from lime_jax.core.components import (
    Components,
    cross,
    equal_segments,
    from_labels,
    from_stems,
    grid,
    recompose,
)
from lime_jax.core.execution.allocator import keep_freed_memory
from lime_jax.core.execution.host_model import host_model
from lime_jax.core.explain import explain, explain_batch, explain_stream, plan
from lime_jax.core.explanation import Explanation, Status
from lime_jax.core.linear_map import map_linear
from lime_jax.core.masks.sequential import auto
from lime_jax.core.methods import (
    Method,
    banzhaf,
    exhaustive,
    kernel_shap,
    lime,
    shapley,
    slime,
)
from lime_jax.core.over_fills import FillAverage, explain_over_fills
from lime_jax.core.ranking import mask_of, top_k
from lime_jax.core.stages import fit_surrogate, predict_neighbourhood
from lime_jax.core.surrogates.uncertainty import (
    coefficient_difference,
    confidence_interval,
    top_k_confidence,
)

if TYPE_CHECKING:
    from lime_jax import audio, examples, models, report, runs, separation

    __version__: str

__all__ = [
    "Components",
    "Explanation",
    "FillAverage",
    "Method",
    "Status",
    "__version__",
    "audio",
    "auto",
    "banzhaf",
    "coefficient_difference",
    "confidence_interval",
    "cross",
    "equal_segments",
    "errors",
    "examples",
    "exhaustive",
    "explain",
    "explain_batch",
    "explain_over_fills",
    "explain_stream",
    "fills",
    "fit_surrogate",
    "from_labels",
    "from_stems",
    "grid",
    "host_model",
    "keep_freed_memory",
    "kernel_shap",
    "lime",
    "map_linear",
    "mask_of",
    "metrics",
    "models",
    "plan",
    "predict_neighbourhood",
    "receptive_fields",
    "recompose",
    "report",
    "runs",
    "separation",
    "shapley",
    "slime",
    "top_k",
    "top_k_confidence",
]

# What needs more than jax and numpy is imported when it is first asked for.
_LAZY = ("audio", "examples", "models", "report", "runs", "separation")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"lime_jax.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("lime-jax")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
