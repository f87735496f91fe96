"""Explanations averaged over what stands in for removed components, and how far those differ."""

import dataclasses
from collections.abc import Sequence
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from lime_jax.core import choose, pooling
from lime_jax.core.arguments import function, listed
from lime_jax.core.components import Components, check_one_item, fill_for
from lime_jax.core.execution.host_model import HostModel, host_model
from lime_jax.core.execution.progress import Progress
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import item_of
from lime_jax.core.keys import MaybeKey
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predict, Predictor, as_predictor, check_outputs
from lime_jax.core.problem import Problem
from lime_jax.core.pytree import pytree
from lime_jax.core.receptive_fields.declaration import Declaration, declaration
from lime_jax.core.receptive_fields.layers import Layerwise
from lime_jax.core.receptive_fields.windows import Windowed


@pytree
class FillAverage:
    """An explanation that does not depend on one choice of fill, and those that do.

    Attributes:
      explanation: of the mean of the outputs over the fills. Surrogates that are linear in the
        outputs (ridge without selection, Shapley, Banzhaf) have the mean of the fills'
        coefficients; those that select components, select them for the mean.
      fills: of every fill, a leading axis over them.
      spread: the standard deviation of the coefficients between the fills (of a sample, with
        `num_fills - 1`), `(num_outputs, num_components)`; zero for a single fill. With exact
        methods it comes from the choice of fill alone. With sampled masks it also holds sampling
        error: all fills had the same masks, but their outputs differ, and so do their errors.
    """

    explanation: Explanation
    fills: Explanation
    spread: Float[Array, "..."]


def explain_over_fills(
    predict: Predict | HostModel,
    components: Components,
    fills: Sequence[Any],
    method: Method,
    *,
    key: MaybeKey = None,
    batch_size: SupportsIndex | None = None,
    precision: str | None = None,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> FillAverage:
    """Explains a model with several fills in place of removed components, in one pass.

    What stands in for a removed component changes the explanation, and no fill is the right one.
    The mean over several is a choice of its own, the spread says how much hangs on the choice.

    Args:
      predict: as for `explain`; a declared receptive field is made use of.
      components: from `from_labels` or `from_stems`; their own fill counts only if it is among
        `fills`.
      fills: each as `from_labels` takes its `fill`.
      method: as for `explain`. `auto` looks at the mean over the fills, and its
        `max_evaluations` counts masks, each of which is evaluated once per fill.
      key: of the masks, which are those of `explain` and the same for all fills.
      batch_size: inputs in memory at a time, but at least one per fill.
      precision: as for `explain`.
      mesh: as for `explain`.
      progress: as for `explain`; all fills count.

    Returns:
      A `FillAverage`, whose `explanation.num_evaluations` counts all fills.

    Raises:
      ValueError: if there is no fill, or one does not fit; and as `explain` does.

    References:
      Mishra et al., Reliable Local Explanations for Machine Listening, 2020, show that the content
      type, our fill, changes the explanation. To average over fills is ours.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> signal = jnp.array([1.0, 1.0, 3.0, 3.0])
      >>> components = lj.from_labels(signal, lj.equal_segments(4, 2), 2)
      >>> power = lambda batch: jnp.square(batch).sum(axis=1, keepdims=True)
      >>> fills = [lj.fills.zero(signal), lj.fills.mean(signal)]
      >>> average = lj.explain_over_fills(power, components, fills, lj.shapley())
      >>> average.fills.coefficients[:, 0].round().tolist()
      [[2.0, 18.0], [-6.0, 10.0]]
      >>> average.explanation.coefficients.round().tolist(), average.spread.round().tolist()
      ([[-2.0, 14.0]], [[6.0, 6.0]])
    """
    fills = listed("fills", fills, "fills")
    problem = state_over_fills(
        predict,
        components,
        fills,
        method,
        key=key,
        batch_size=batch_size,
        precision=precision,
        mesh=mesh,
        progress=progress,
    )
    with problem.context:
        explanation = choose.solve(problem)
        if not problem.is_traced:
            explanation.warn()
    groups = _by_group(explanation, len(fills))
    return _average(item_of(groups, 0), item_of(groups, slice(1, None)))


def state_over_fills(
    predict: Predict | HostModel,
    components: Components,
    fills: Sequence[Any],
    method: Method,
    *,
    batch_size: SupportsIndex | None = None,
    progress: Progress | None = None,
    **means: Any,
) -> Problem:
    """States the problem that `explain_over_fills` solves, with the same arguments."""
    check_one_item(components)
    fills = listed("fills", fills, "fills")
    num_fills = len(fills)
    if progress is not None:
        function("progress", progress)
    problem = Problem.of_item(
        _over_fills(predict),
        _with_fills(components, fills),
        method,
        batch_size=batch_size,
        progress=None if progress is None else _count_fills(progress, num_fills),
        num_groups=1 + num_fills,
        **means,
    )
    if batch_size is None:
        return problem
    return dataclasses.replace(problem, batch_size=max(1, int(batch_size) // num_fills))


def pool(averages: Sequence[FillAverage]) -> FillAverage:
    """Returns the mean of averages over fills with different keys; see `pooling.pool`.

    Raises:
      ValueError: if there are none, or they are not of the same input, fills and method.
    """
    explanation = pooling.stack([average.explanation for average in averages])
    fills = jax.tree.map(lambda *x: jnp.stack(x), *(average.fills for average in averages))
    return _average(pooling.pool(explanation), pooling.pool(fills))


def _average(explanation: Explanation, fills: Explanation) -> FillAverage:
    each = fills.coefficients
    spread = jnp.std(each, axis=0, ddof=1) if len(each) > 1 else jnp.zeros_like(each[0])
    return FillAverage(explanation, fills, spread)


def _with_fills(components: Components, fills: Sequence[Any]) -> Components:
    """The components of an input with a last axis over fills, behind those that models name."""
    if len(fills) == 0:
        raise ValueError("`fills` is empty. Pass at least one, for example [0.0].")
    each = [fill_for(fill, components.sources) for fill in fills]
    shape = np.broadcast_shapes(*(fill.shape for fill in each))
    sources = components.sources[..., None]
    return dataclasses.replace(
        components,
        sources=jnp.broadcast_to(sources, (*components.sources.shape, len(fills))),
        labels=components.labels[..., None],
        fill=jnp.stack([jnp.broadcast_to(fill, shape) for fill in each], axis=-1),
        input_ndim=components.input_ndim + 1,
    )


def _count_fills(progress: Progress, num_fills: int) -> Progress:
    return lambda done, total: progress(num_fills * done, num_fills * total)


def _over_fills(predict: Predict | HostModel) -> Predict | HostModel:
    """The model of inputs with a last axis over fills."""
    if isinstance(predict, HostModel):
        return host_model(lambda inputs: _gather(predict(_as_batch(inputs)), inputs.shape[-1]))
    whole = as_predictor(_Whole(as_predictor(predict)))
    model = declaration(predict, Declaration)
    if isinstance(model, Layerwise):
        return _layers_over_fills(model, whole)
    if not isinstance(model, Windowed):
        return whole
    backbone, head = _Backbone(model.backbone), _Head(model.head)
    if model.is_sum:
        # A mean over fills goes into a sum over windows, which stays what it was.
        backbone, head = _Whole(model.backbone), model.head
    return dataclasses.replace(
        model, whole=whole, backbone=as_predictor(backbone), head=as_predictor(head)
    )


def _layers_over_fills(model: Layerwise, whole: Predictor) -> Layerwise:
    """Every fill has columns of its own; those above the first layer have the fills in front."""
    first, *above = model.layers
    layers = (
        dataclasses.replace(first, apply=as_predictor(_Backbone(first.apply))),
        *(dataclasses.replace(layer, apply=as_predictor(_Layer(layer.apply))) for layer in above),
    )
    head = as_predictor(_Head(model.head))
    return dataclasses.replace(model, whole=whole, layers=layers, head=head)


@pytree
class _Whole:
    """`(batch, *input, num_fills)` to the outputs of the mean, then those of each fill."""

    model: Predictor

    def __call__(self, inputs: Array) -> Array:
        batch = _as_batch(inputs)
        return _gather(check_outputs(self.model(batch), len(batch)), inputs.shape[-1])


@pytree
class _Backbone:
    """`(batch, *window, num_fills)` to `(batch, num_fills, *features)`."""

    model: Predictor

    def __call__(self, windows: Array) -> Array:
        features = self.model(_as_batch(windows))
        return features.reshape(-1, windows.shape[-1], *features.shape[1:])


@pytree
class _Head:
    """`(batch, num_windows, num_fills, *features)` to the same outputs as `_Whole`."""

    model: Predictor

    def __call__(self, features: Array) -> Array:
        flat = _each_fill(features)
        return _gather(check_outputs(self.model(flat), len(flat)), features.shape[2])


@pytree
class _Layer:
    """`(batch, window, num_fills, *features)` to `(batch, num_fills, *features)`."""

    model: Predictor

    def __call__(self, columns: Array) -> Array:
        made = self.model(_each_fill(columns))
        return made.reshape(-1, columns.shape[2], *made.shape[1:])


def _each_fill(columns: Array) -> Array:
    """The columns of every fill of every input, where those of the fills lie side by side."""
    by_fill = columns.swapaxes(1, 2)
    return by_fill.reshape(-1, *by_fill.shape[2:])


def _as_batch(inputs: Any) -> Any:
    """Every fill of every input as an input of its own; for NumPy and JAX arrays."""
    last = inputs.ndim - 1
    return inputs.transpose(0, last, *range(1, last)).reshape(-1, *inputs.shape[1:-1])


def _gather(outputs: Any, num_fills: int) -> Array:
    """Outputs `(batch * num_fills, num_outputs)` side by side, their mean in front."""
    each = jnp.reshape(outputs, (-1, num_fills, outputs.shape[1]))
    groups = jnp.concatenate([each.mean(axis=1, keepdims=True), each], axis=1)
    return groups.reshape(len(each), -1)


def _by_group(explanation: Explanation, num_fills: int) -> Explanation:
    """A leading axis over the mean and the fills in place of their outputs side by side."""
    num_groups = 1 + num_fills

    def split(x: Array) -> Array:
        return x.reshape(num_groups, -1, *x.shape[1:])

    evaluations = np.array([num_fills, *[1] * num_fills], np.int32)
    return Explanation(
        coefficients=split(explanation.coefficients),
        intercept=split(explanation.intercept),
        fidelity=split(explanation.fidelity),
        local_prediction=split(explanation.local_prediction),
        prediction=split(explanation.prediction),
        std_error=split(explanation.std_error),
        deviations=jax.vmap(split, out_axes=1)(explanation.deviations),
        degrees_of_freedom=jnp.broadcast_to(explanation.degrees_of_freedom, (num_groups,)),
        status=split(explanation.status),
        num_evaluations=explanation.num_evaluations * evaluations,
        num_lime_samples=split(explanation.num_lime_samples),
        num_samples=explanation.num_samples,
    )
