"""The two halves of an explanation: outputs for masks, a surrogate for outputs."""

from typing import SupportsIndex

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lime_jax.core import choose
from lime_jax.core.components import Components
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.methods import Method
from lime_jax.core.modes import in_usual_modes
from lime_jax.core.predictor import Predict
from lime_jax.core.problem import Problem
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
    masks = jnp.asarray(masks)
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
    masks, outputs = jnp.asarray(masks), jnp.asarray(outputs)
    if outputs.ndim != 2 or outputs.shape[0] != masks.shape[0]:
        raise ValueError(
            f"`outputs` must have shape ({masks.shape[0]}, num_outputs), one row per mask, got "
            f"{outputs.shape}."
        )
    if isinstance(method.surrogate, Shapley) and not is_traced(masks):
        if not (masks.all(axis=1).any() and (~masks).all(axis=1).any()):
            raise ValueError(
                "`masks` must hold all on and all off, which Shapley values share out."
            )
    return _fit(masks, outputs, counts, method)


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
