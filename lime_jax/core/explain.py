"""Explaining predictions: the public functions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from lime_jax.core import engine, memory, statistics
from lime_jax.core.components import Components
from lime_jax.core.explanation import Explanation
from lime_jax.core.host import HostModel, evaluate_on_host, predict_in_batches
from lime_jax.core.linear import LinearFit
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predict, Predictor, as_predictor
from lime_jax.core.samplers import Neighbourhood
from lime_jax.core.surrogates import Shapley

Progress = Callable[[int, int], None]
MaybeKey = Key[Array, "..."] | None


def explain(
    predict: Predict | HostModel,
    components: Components,
    method: Method,
    *,
    key: MaybeKey = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explains all outputs of a model at one input.

    Draws masks, recomposes and predicts chunk by chunk, and solves the surrogate from the sums:
    one compiled program, reused for every input of the same shape, whose memory does not depend
    on the number of samples.

    Args:
      predict: maps `(batch, *input)` to `(batch, num_outputs)`. Any callable pytree: a function,
        `jax.tree_util.Partial(fn, params)`, an nnx or Equinox module in evaluation mode; or a
        `host_model`.
      components: the input taken apart.
      method: for example `lime(num_samples=1000)` or `exhaustive()`.
      key: where the masks come from; methods that use all masks need none.
      batch_size: inputs in memory at a time. None chooses from a memory budget; a device that runs
        out of memory gets half as many and goes on, with a warning (not inside jit).
      progress: called as `progress(done, total)`, in model evaluations, after every chunk; ignored
        inside jit.

    Raises:
      ValueError: if an argument has the wrong shape, at trace time.
      ModelError: if a host model fails, or if one input alone does not fit into memory.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.array([[1.0, -1.0], [2.0, 2.0], [0.0, 0.0]]))
      >>> power = lambda batch: jnp.square(batch).mean(axis=1, keepdims=True)
      >>> explanation = lj.explain(power, stems, lj.lime(500), key=jax.random.key(0))
      >>> int(explanation.coefficients[0].argmax()), explanation.num_evaluations
      (1, 8)
    """
    key = _checked_key(key)
    if isinstance(predict, HostModel):
        return _explain_on_host(predict, components, method, key, batch_size, progress)
    predictor = as_predictor(predict)
    if _is_traced((predictor, components, method, key)):
        size = _chosen(batch_size) or _fitting_batch_size(predictor, components)
        return engine.run(predictor, components, method, key, size)
    if progress is None:
        run = functools.partial(_run, predictor, components, method, key)
    else:
        run = functools.partial(_run_in_steps, predictor, components, method, key, progress)
    return _with_fitting_batches(run, predictor, components, batch_size)


def explain_batch(
    predict: Predict | HostModel,
    components: Components,
    method: Method,
    *,
    key: MaybeKey = None,
    batch_size: int | None = None,
) -> Explanation:
    """Explains all outputs of a model at many inputs of the same shape, in one program.

    Args:
      predict: as for `explain`.
      components: with a leading axis over items on every array, for example
        `jax.vmap(from_stems)(stems)`.
      method: as for `explain`.
      key: one for all, split into one per item; or an array of keys, one per item.
      batch_size: inputs in memory at a time, over items and masks together.

    Returns:
      An explanation with a leading axis over items; item `i` equals `explain` of that item with
      its key.
    """
    if components.sources.ndim < 3 or components.sources.shape[1] != components.num_sources:
        raise ValueError(
            f"`components` must have a leading axis over items, got sources of shape "
            f"{components.sources.shape}. Make them with `jax.vmap(from_stems)(stems)`."
        )
    num_items = components.sources.shape[0]
    keys = _keys_per_item(_checked_key(key), num_items)
    if isinstance(predict, HostModel):
        each = [
            explain(
                predict, _item(components, i), method, key=_item(keys, i), batch_size=batch_size
            )
            for i in range(num_items)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    predictor = as_predictor(predict)
    if _is_traced((predictor, components, method, keys)):
        size = _chosen(batch_size) or _fitting_batch_size(predictor, _item(components, 0))
        return _batch_program(predictor, components, method, keys, size)
    run = functools.partial(_run_batch, predictor, components, method, keys)
    return _with_fitting_batches(run, predictor, _item(components, 0), batch_size)


def predict_neighbourhood(
    predict: Predict | HostModel,
    components: Components,
    masks: Bool[Array, "num_masks num_components"],
    *,
    batch_size: int = 256,
) -> tuple[Bool[Array, "num_masks num_components"], Float[Array, "num_masks num_outputs"]]:
    """The first half of `explain`: the model's outputs for given masks.

    Args:
      predict: as for `explain`.
      components: the input taken apart.
      masks: bool `(num_masks, num_components)`.
      batch_size: inputs in memory at a time.

    Returns:
      The masks and float32 outputs `(num_masks, num_outputs)`, as `fit_surrogate` takes them.
    """
    masks = jnp.asarray(masks)
    num_masks = masks.shape[0]
    if num_masks == 0:
        raise ValueError("`masks` is empty. Pass at least one mask.")
    batch_size = min(_chosen(batch_size) or num_masks, num_masks)
    padding = jnp.repeat(masks[-1:], -num_masks % batch_size, axis=0)
    padded = jnp.concatenate([masks, padding])
    if isinstance(predict, HostModel):
        chunks = [
            predict_in_batches(predict, np.array(_inputs(components, chunk)), batch_size)
            for chunk in padded.reshape(-1, batch_size, masks.shape[1])
        ]
        return masks, jnp.asarray(np.concatenate(chunks)[:num_masks])
    outputs = _evaluate(as_predictor(predict), components, padded, batch_size=batch_size)
    return masks, outputs[:num_masks]


def fit_surrogate(
    masks: Bool[Array, "num_masks num_components"],
    outputs: Float[Array, "num_masks num_outputs"],
    method: Method,
    *,
    counts: Float[Array, " num_masks"] | None = None,
) -> LinearFit:
    """The second half of `explain`: the surrogate for given masks and outputs.

    The same numbers as LIME's own code on the same masks: weighted ridge with an unpenalised
    intercept on unnormalised kernel weights.

    Args:
      masks: bool `(num_masks, num_components)`.
      outputs: float32 `(num_masks, num_outputs)`.
      method: its kernel and surrogate are used.
      counts: how often each mask counts, `(num_masks,)`, as the neighbourhood of a sampler tells;
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
    if outputs.ndim != 2 or outputs.shape[0] != masks.shape[0]:
        raise ValueError(
            f"`outputs` must have shape ({masks.shape[0]}, num_outputs), one row per mask, got "
            f"{outputs.shape}."
        )
    masks = jnp.asarray(masks)
    if isinstance(method.surrogate, Shapley) and not _is_traced(masks):
        if not (masks.all(axis=1).any() and (~masks).all(axis=1).any()):
            raise ValueError(
                "`masks` must hold all on and all off, which Shapley values share out."
            )
    return _fit(masks, jnp.asarray(outputs), counts, method)


@functools.partial(jax.jit, static_argnames="batch_size")
def _run(
    predictor: Predictor,
    components: Components,
    method: Method,
    key: MaybeKey,
    batch_size: int,
) -> Explanation:
    return engine.run(predictor, components, method, key, batch_size)


@functools.partial(jax.jit, static_argnames="batch_size")
def _run_batch(
    predictor: Predictor,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
) -> Explanation:
    return _batch_program(predictor, components, method, keys, batch_size)


def _batch_program(
    predictor: Predictor,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int,
) -> Explanation:
    """Maps over groups of items; a group is as many items as fill a batch with their masks."""
    num_items = components.sources.shape[0]
    neighbourhood = method.sampler(_item(keys, 0), components.num_components)
    group = max(1, min(num_items, batch_size // neighbourhood.num_masks))
    index = jnp.minimum(jnp.arange(-(-num_items // group) * group), num_items - 1)
    grouped = jax.tree.map(lambda x: x[index].reshape(-1, group, *x.shape[1:]), (components, keys))
    one = lambda item: engine.run(predictor, item[0], method, item[1], batch_size)
    explanations = jax.lax.map(jax.vmap(one), grouped)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_items], explanations)


def _run_in_steps(
    predictor: Predictor,
    components: Components,
    method: Method,
    key: MaybeKey,
    progress: Progress,
    batch_size: int,
) -> Explanation:
    """The same steps as `engine.run`, called one at a time so that progress can be told."""
    neighbourhood = _draw(method, key, components.num_components)
    split = engine.plan(neighbourhood, batch_size)
    blocks = engine.no_blocks(neighbourhood, engine.num_outputs(predictor, components, split))
    for index in range(split.num_steps):
        blocks = _step(
            predictor, components, method, neighbourhood, split, blocks, jnp.int32(index)
        )
        jax.block_until_ready(blocks)
        _tell(progress, neighbourhood, split, index)
    return _finish(method, neighbourhood, blocks)


def _explain_on_host(
    model: HostModel,
    components: Components,
    method: Method,
    key: MaybeKey,
    batch_size: int | None,
    progress: Progress | None,
) -> Explanation:
    if _is_traced((components, method, key)):
        raise ValueError("a host model cannot run inside jit or vmap. Call `explain` outside.")
    neighbourhood = _draw(method, key, components.num_components)
    split = engine.plan(neighbourhood, _chosen(batch_size) or _host_batch_size(components))
    blocks = None
    steps = evaluate_on_host(model, components, neighbourhood, split)
    for index, (masks, counts, outputs) in enumerate(steps):
        if blocks is None:
            blocks = engine.no_blocks(neighbourhood, outputs.shape[1])
        blocks = _fold(method.kernel, blocks, masks, counts, jnp.asarray(outputs))
        if progress is not None:
            _tell(progress, neighbourhood, split, index)
    return _finish(method, neighbourhood, blocks)


def _tell(progress: Progress, neighbourhood: Neighbourhood, split: engine.Plan, index: int) -> None:
    total = neighbourhood.num_masks
    progress(min((index + 1) * split.rows_per_step, total), total)


# Large enough to keep a framework busy.
_HOST_BATCH = 64

_step = jax.jit(engine.step, static_argnums=4)
_fold = jax.jit(engine.fold)
_finish = jax.jit(engine.finish)
_inputs = jax.jit(engine.inputs_of)
_evaluate = jax.jit(engine.evaluate, static_argnames="batch_size")


@functools.partial(jax.jit, static_argnums=2)
def _draw(method: Method, key: MaybeKey, num_components: int) -> Neighbourhood:
    return method.sampler(key, num_components)


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


def _with_fitting_batches(
    run: Callable[[int], Explanation],
    predictor: Predictor,
    components: Components,
    batch_size: int | None,
) -> Explanation:
    size = _chosen(batch_size) or _fitting_batch_size(predictor, components)
    explanation, reached = memory.with_smaller_batches(run, size)
    if batch_size is None and reached != size:
        _batch_sizes[_signature(predictor, components)] = reached
    return explanation


def _chosen(batch_size: int | None) -> int | None:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1 or None, got {batch_size}.")
    return batch_size


def _host_batch_size(components: Components) -> int:
    """As many inputs as fit twice, the ones at work and the next ones."""
    mask = jax.ShapeDtypeStruct((1, components.num_components), jnp.bool_)
    return min(_HOST_BATCH, max(1, memory.batch_size_for(engine.inputs_of, components, mask) // 2))


# What fitted a model and an input shape, so that tracing and running out happen once.
_batch_sizes: dict[Any, int] = {}
_MOST_REMEMBERED = 64


def _fitting_batch_size(predictor: Predictor, components: Components) -> int:
    signature = _signature(predictor, components)
    if signature not in _batch_sizes:
        if len(_batch_sizes) >= _MOST_REMEMBERED:
            _batch_sizes.pop(next(iter(_batch_sizes)))
        mask = jax.ShapeDtypeStruct((1, components.num_components), jnp.bool_)
        one = lambda *arguments: engine.evaluate(*arguments, batch_size=1)
        _batch_sizes[signature] = memory.batch_size_for(one, predictor, components, mask)
    return _batch_sizes[signature]


def _signature(predictor: Predictor, components: Components) -> Any:
    leaves, structure = jax.tree.flatten((predictor, components))
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


def _keys_per_item(key: MaybeKey, num_items: int) -> MaybeKey:
    if key is None or key.ndim == 0:
        return None if key is None else jax.random.split(key, num_items)
    if key.shape != (num_items,):
        raise ValueError(f"`key` must be one key or one per item, ({num_items},), got {key.shape}.")
    return key


def _checked_key(key: Any) -> Any:
    dtype = getattr(key, "dtype", np.dtype(object))
    if key is not None and not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise ValueError(
            f"`key` must be a typed key, got {type(key).__name__}. Pass `jax.random.key(seed)`."
        )
    return key


def _item(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda x: x[index], tree)


def _is_traced(tree: Any) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
