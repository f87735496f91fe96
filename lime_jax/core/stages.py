"""The two halves of an explanation: outputs for masks, a surrogate for outputs."""

from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lime_jax.core import choose
from lime_jax.core.arguments import array
from lime_jax.core.components import Components
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.methods import Method
from lime_jax.core.modes import in_usual_modes
from lime_jax.core.predictor import Predict
from lime_jax.core.problem import Problem, check_masks, check_method
from lime_jax.core.pytree import is_traced
from lime_jax.core.surrogates import statistics
from lime_jax.core.surrogates.linear_fit import LinearFit
from lime_jax.core.surrogates.shapley import Shapley


@in_usual_modes
def predict_neighbourhood(
    predict: Predict | HostModel,
    components: Components,
    masks: Bool[Array, "num_masks num_components"],
    *,
    batch_size: SupportsIndex = 256,
    precision: str | None = None,
) -> tuple[Bool[Array, "num_masks num_components"], Float[Array, "num_masks num_outputs"]]:
    """Predicts the outputs for given masks: the first half of `explain`.

    A model that declares its receptive field is evaluated on windows, wherever that is cheaper.

    Args:
      predict: as for `explain`.
      components: the input taken apart.
      masks: bool `(num_masks, num_components)`.
      batch_size: inputs in memory at a time.
      precision: as for `explain`.

    Returns:
      The masks and float32 outputs `(num_masks, num_outputs)`, as `fit_surrogate` takes them.
    """
    masks = array("masks", masks)
    problem = Problem.of_masks(
        predict, components, masks, batch_size=batch_size, precision=precision
    )
    with problem.context:
        return masks, choose.predict(problem)


@in_usual_modes
def fit_surrogate(
    masks: Bool[Array, "num_masks num_components"],
    outputs: Float[Array, "num_masks num_outputs"],
    method: Method,
    *,
    counts: Float[Array, " num_masks"] | None = None,
) -> LinearFit:
    """Fits the surrogate to given masks and outputs: the second half of `explain`.

    The same numbers as LIME's own code on the same masks: weighted ridge with an unpenalised
    intercept on unnormalised kernel weights.

    Args:
      masks: bool `(num_masks, num_components)`.
      outputs: float32 `(num_masks, num_outputs)`.
      method: its kernel and surrogate are used.
      counts: how often each mask counts, `(num_masks,)`, as in the neighbourhood of a sampler;
        None means once. `kernel_shap` over all masks keeps its weights there.

    Raises:
      ValueError: if shapes do not match, or a Shapley surrogate lacks all on or all off.

    Returns:
      Coefficients, intercept, fidelity and local prediction of every output.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> masks = jnp.array([[True, True], [True, False], [False, True], [False, False]])
      >>> fit = lj.fit_surrogate(masks, jnp.array([[3.0], [2.0], [1.0], [0.0]]), lj.lime(alpha=0.0))
      >>> fit.coefficients.round(3)
      Array([[2., 1.]], dtype=float32)
    """
    check_method(method)
    masks, outputs = array("masks", masks), _real("outputs", outputs)
    check_masks(masks)
    if outputs.ndim != 2 or outputs.shape[0] != masks.shape[0]:
        raise ValueError(
            f"`outputs` must have shape ({masks.shape[0]}, num_outputs), one row per mask, got "
            f"{outputs.shape}."
        )
    counts = None if counts is None else _checked_counts(counts, masks.shape[0])
    if isinstance(method.surrogate, Shapley) and not is_traced(masks):
        if not (masks.all(axis=1).any() and (~masks).all(axis=1).any()):
            raise ValueError(
                "`masks` must hold all on and all off, which Shapley values share out."
            )
    return _fit(masks, outputs, counts, method)


def _checked_counts(counts: Any, num_masks: int) -> Array:
    counts = _real("counts", counts)
    if counts.shape != (num_masks,):
        raise ValueError(
            f"`counts` must have shape ({num_masks},), one per mask, got {counts.shape}."
        )
    if not is_traced(counts) and not (np.asarray(counts) >= 0).all():
        raise ValueError("`counts` must not be negative or NaN. They say how often a mask counts.")
    return counts


def _real(name: str, values: Any) -> Array:
    numbers = array(name, values)
    kinds = jnp.floating, jnp.integer, jnp.bool_
    if not any(jnp.issubdtype(numbers.dtype, kind) for kind in kinds):
        raise ValueError(f"`{name}` must be real numbers, got {numbers.dtype}.")
    return numbers.astype(jnp.float32)


@jax.jit
def _fit(
    masks: Bool[Array, "num_masks num_components"],
    outputs: Float[Array, "num_masks num_outputs"],
    counts: Float[Array, " num_masks"] | None,
    method: Method,
) -> LinearFit:
    weights = method.kernel(masks)
    weights = weights if counts is None else weights * counts
    return method.surrogate(statistics.summarise(masks, outputs, weights))
