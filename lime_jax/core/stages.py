"""The two halves of an explanation: outputs for masks, a surrogate for outputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lime_jax.core.components import Components, Recomposable
from lime_jax.core.execution import accumulate, memory
from lime_jax.core.execution.batch_size import check_batch_size
from lime_jax.core.execution.host_model import HostModel, predict_in_batches
from lime_jax.core.execution.precision import products
from lime_jax.core.item_axis import as_one_item
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predict, Predictor, as_predictor
from lime_jax.core.pytree import is_traced
from lime_jax.core.receptive_fields import check, layers, windows
from lime_jax.core.receptive_fields.declaration import Declaration, declaration
from lime_jax.core.receptive_fields.layers import Layerwise
from lime_jax.core.receptive_fields.windows import Windowed, look_up
from lime_jax.core.surrogates import statistics
from lime_jax.core.surrogates.linear_fit import LinearFit
from lime_jax.core.surrogates.shapley import Shapley


def predict_neighbourhood(
    predict: Predict | HostModel,
    components: Components,
    masks: Bool[Array, "num_masks num_components"],
    *,
    batch_size: int = 256,
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
    num_masks = masks.shape[0]
    if num_masks == 0:
        raise ValueError("`masks` is empty. Pass at least one mask.")
    size = min(check_batch_size(batch_size) or num_masks, num_masks)
    items, rows = as_one_item((components, masks))
    if isinstance(predict, HostModel):
        starts = range(0, num_masks, size)
        chunks = [
            predict_in_batches(
                predict, np.array(_inputs(items, rows[:, start : start + size]))[0], size
            )
            for start in starts
        ]
        return masks, jnp.asarray(np.concatenate(chunks))
    with products(precision):
        outputs = _predict_by_receptive_field(predict, components, masks, size)
        if outputs is not None:
            return masks, outputs
        predictor = as_predictor(predict)
        run = functools.partial(_evaluate, predictor, items, rows)
        outputs, _ = memory.retry_with_smaller_batches(run, size)
    return masks, outputs[0]


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


def _predict_by_receptive_field(
    predict: Predict, components: Components, masks: Bool[Array, "rows components"], batch_size: int
) -> Float[Array, "rows outputs"] | None:
    """Returns the outputs from windows; None where whole inputs are cheaper, and inside jit."""
    model = declaration(predict, Declaration)
    if model is None or is_traced((model, components, masks)):
        return None
    if isinstance(model, Layerwise):
        return _predict_by_layers(model, components, masks, batch_size)
    if not isinstance(model, Windowed):
        return None
    layout = windows.layout_of(model, components, len(masks))
    if layout is None:
        return None
    check.check_windows_once(model, components)
    run = functools.partial(_predict_windows, model, components, layout.arrays, masks)
    return memory.retry_with_smaller_batches(run, batch_size)[0]


def _predict_by_layers(
    model: Layerwise, components: Components, masks: Bool[Array, "rows components"], batch_size: int
) -> Float[Array, "rows outputs"] | None:
    if (columns := layers.plan_columns(model, components, len(masks))) is None:
        return None
    lookup = layers.look_up_columns(model, components, columns)
    check.check_columns_once(model, components, lookup)
    items, rows = as_one_item((lookup, masks))
    run = functools.partial(_evaluate, model.head, items, rows)
    return memory.retry_with_smaller_batches(run, batch_size)[0][0]


def _evaluate(
    predictor: Predictor, items: Recomposable, rows: Array, batch_size: int
) -> Float[Array, "items rows outputs"]:
    return accumulate.compiled_evaluate(predictor, items, rows, batch_size=batch_size)


@functools.partial(jax.jit, static_argnums=4)
def _predict_windows(
    model: Windowed,
    components: Components,
    layout: tuple[Array, Array, Array, Array],
    masks: Bool[Array, "rows components"],
    batch_size: int,
) -> Float[Array, "rows outputs"]:
    window_of, entries, first, steps = layout
    lookup = look_up(model, components, window_of, entries, first, steps, batch_size)
    lookup, rows = as_one_item((lookup, masks))
    return accumulate.evaluate(model.head, lookup, rows, batch_size)[0]


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


_inputs = jax.jit(accumulate.inputs_of)
