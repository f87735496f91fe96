"""Explaining predictions: the public functions."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from lime_jax.core import engine, locality, memory, programs, statistics, tuning
from lime_jax.core.components import Components
from lime_jax.core.explanation import Explanation
from lime_jax.core.host import HostModel, predict_in_batches
from lime_jax.core.linear import LinearFit
from lime_jax.core.methods import Method
from lime_jax.core.precision import products
from lime_jax.core.predictor import Predict, as_predictor
from lime_jax.core.programs import MaybeKey, Progress
from lime_jax.core.surrogates import Shapley


def explain(
    predict: Predict | HostModel,
    components: Components,
    method: Method,
    *,
    key: MaybeKey = None,
    batch_size: int | None = None,
    precision: str | None = None,
    mesh: Mesh | None = None,
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
      batch_size: inputs in memory at a time, on each device. None chooses: what fits into a memory
        budget, and before long work what runs fastest, found out once per model and shape. A
        device that runs out of memory gets half as many and goes on, with a warning (not inside
        jit).
      precision: of the model's products. None is float32, or what `jax.default_matmul_precision`
        says; "fastest" is what the device does by itself (tf32 on NVIDIA GPUs, bf16 on TPUs).
      mesh: devices that share the masks, for example `jax.make_mesh((8,), ("devices",))`. Over
        several processes all must call with the same arguments.
      progress: called as `progress(done, total)`, in model evaluations, after every chunk (with a
        mesh, at the end); ignored inside jit.

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
    key = _one_key(key)
    if components.is_batched:
        raise ValueError(
            "`components` have a leading axis over items. Use `explain_batch`, or map over them "
            "with `jax.vmap`."
        )
    if isinstance(predict, HostModel):
        _refuse_mesh(mesh)
        items, keys = programs.as_one_item((components, key))
        return programs.item_of(
            programs.run_on_host(predict, items, method, keys, _chosen(batch_size), progress), 0
        )
    predictor = as_predictor(predict)
    with products(precision):
        traced = tuning.is_traced((predictor, components, method, key))
        if not traced and mesh is None:
            items, keys = programs.as_one_item((components, key))
            if (found := _explain_locally(predict, items, method, keys, batch_size)) is not None:
                return _told(programs.item_of(found, 0), progress)
        size = _chosen(batch_size) or tuning.batch_size_for(
            predictor, components, method, key, may_try=not traced
        )
        size = _of_all_processes(size, mesh)
        if traced:
            return programs.run(predictor, components, method, key, size, mesh)
        if progress is None or mesh is not None:
            arguments = _on_every_device((predictor, components, method, key), mesh)
            run = lambda size: programs.run(*arguments, size, mesh)
        else:
            run = functools.partial(
                programs.run_in_steps, predictor, components, method, key, progress
            )
        explanation, reached = memory.with_smaller_batches(run, size)
    if batch_size is None and reached != size:
        tuning.remember(predictor, components, reached)
    return explanation if mesh is None else _told(explanation, progress)


def explain_batch(
    predict: Predict | HostModel,
    components: Components,
    method: Method,
    *,
    key: MaybeKey = None,
    batch_size: int | None = None,
    precision: str | None = None,
    mesh: Mesh | None = None,
) -> Explanation:
    """Explains all outputs of a model at many inputs of the same shape, in one program.

    Args:
      predict: as for `explain`.
      components: with a leading axis over items on every array, for example
        `jax.vmap(from_stems)(stems)`.
      method: as for `explain`.
      key: one for all, split into one per item; or an array of keys, one per item.
      batch_size: inputs in memory at a time, over items and masks together, on each device.
      precision: as for `explain`.
      mesh: devices that share the items.

    Returns:
      An explanation with a leading axis over items; item `i` equals `explain` of that item with
      its key.
    """
    if not components.is_batched:
        raise ValueError(
            f"`components` must have a leading axis over items, got sources of shape "
            f"{components.sources.shape}. Make them with `jax.vmap(from_stems)(stems)`."
        )
    num_items = components.num_items
    keys = _keys_per_item(_checked_key(key), num_items)
    if isinstance(predict, HostModel):
        _refuse_mesh(mesh)
        return programs.run_on_host(predict, components, method, keys, _chosen(batch_size), None)
    predictor = as_predictor(predict)
    one, one_key = programs.item_of((components, keys), 0)
    with products(precision):
        traced = tuning.is_traced((predictor, components, method, keys))
        if not traced and mesh is None:
            found = _explain_locally(predict, components, method, keys, batch_size)
            if found is not None:
                return found
        size = _chosen(batch_size) or tuning.batch_size_for(
            predictor, one, method, one_key, num_items=num_items, may_try=not traced
        )
        size = _of_all_processes(size, mesh)
        if traced:
            return programs.run_batch(predictor, components, method, keys, size, mesh)
        arguments = _on_every_device((predictor, components, method, keys), mesh)
        explanations, reached = memory.with_smaller_batches(
            lambda size: programs.run_batch(*arguments, size, mesh), size
        )
    if batch_size is None and reached != size:
        tuning.remember(predictor, one, reached)
    return explanations


def explain_stream(
    predict: Predict | HostModel,
    components: Iterable[Components],
    method: Method,
    *,
    key: MaybeKey = None,
    num_items: int = 64,
    batch_size: int | None = None,
    precision: str | None = None,
    mesh: Mesh | None = None,
) -> Iterator[Explanation]:
    """Explains inputs of the same shape as they come, one program for all of them.

    While the device explains some items, the next ones are taken from `components`: reading and
    decoding cost no time beside the model.

    Args:
      predict: as for `explain`.
      components: of one input after the other; any iterable, of any length.
      method: as for `explain`.
      key: item `i` is explained with `jax.random.fold_in(key, i)`, wherever it stands.
      num_items: how many are explained at a time.
      batch_size: as for `explain_batch`.
      precision: as for `explain`.
      mesh: as for `explain_batch`.

    Yields:
      One explanation per input, in their order.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> clips = (lj.from_stems(jnp.full((2, 4), float(i))) for i in range(3))
      >>> total = lambda batch: batch.sum(axis=1, keepdims=True)
      >>> [float(e.prediction[0]) for e in lj.explain_stream(total, clips, lj.shapley())]
      [0.0, 8.0, 16.0]
    """
    key = _one_key(key)
    if num_items < 1:
        raise ValueError(f"`num_items` must be at least 1, got {num_items}.")
    explain_some = functools.partial(
        explain_batch, predict, method=method, batch_size=batch_size, precision=precision, mesh=mesh
    )

    def stream() -> Iterator[Explanation]:
        source = iter(components)
        take = lambda: list(itertools.islice(source, num_items))
        start = 0
        with ThreadPoolExecutor(1) as reader:
            group = reader.submit(take).result()
            while group:
                following = reader.submit(take)
                # The last few are filled up, so that they fit the program of those before them.
                missing = num_items - len(group) if start and not is_host else 0
                filled = group + [group[-1]] * missing
                index = jnp.arange(start, start + len(filled))
                keys = None if key is None else jax.vmap(jax.random.fold_in, (None, 0))(key, index)
                some = explain_some(jax.tree.map(lambda *x: jnp.stack(x), *filled), key=keys)
                yield from (programs.item_of(some, i) for i in range(len(group)))
                start += len(group)
                group = following.result()

    is_host = isinstance(predict, HostModel)
    return stream()


def predict_neighbourhood(
    predict: Predict | HostModel,
    components: Components,
    masks: Bool[Array, "num_masks num_components"],
    *,
    batch_size: int = 256,
    precision: str | None = None,
) -> tuple[Bool[Array, "num_masks num_components"], Float[Array, "num_masks num_outputs"]]:
    """The first half of `explain`: the model's outputs for given masks.

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
    size = min(_chosen(batch_size) or num_masks, num_masks)
    items, rows = programs.as_one_item((components, masks))
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
        predictor = as_predictor(predict)
        run = lambda size: _evaluate(predictor, items, rows, batch_size=size)
        outputs, _ = memory.with_smaller_batches(run, size)
    return masks, outputs[0]


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
    masks, outputs = jnp.asarray(masks), jnp.asarray(outputs)
    if outputs.ndim != 2 or outputs.shape[0] != masks.shape[0]:
        raise ValueError(
            f"`outputs` must have shape ({masks.shape[0]}, num_outputs), one row per mask, got "
            f"{outputs.shape}."
        )
    if isinstance(method.surrogate, Shapley) and not tuning.is_traced(masks):
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


def _chosen(batch_size: int | None) -> int | None:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1 or None, got {batch_size}.")
    return batch_size


_inputs = jax.jit(engine.inputs_of)
_evaluate = jax.jit(engine.evaluate, static_argnames="batch_size")


def _told(explanation: Explanation, progress: Progress | None) -> Explanation:
    if progress is not None:
        progress(explanation.num_evaluations, explanation.num_evaluations)
    return explanation


def _explain_locally(
    predict: Predict,
    components: Components,
    method: Method,
    keys: MaybeKey,
    batch_size: int | None,
) -> Explanation | None:
    """The explanations of items from few windows; None where whole inputs are cheaper."""
    model = locality.declared(predict)
    if model is None or not locality.cut_alike(components):
        return None
    one, key = programs.item_of((components, keys), 0)
    num_masks, _ = tuning.size_of(method, key, components.num_components)
    layout = locality.layout_of(model, one, num_masks)
    if layout is None:
        return None
    tuning.check_once(model, one)
    sizes = tuning.local_batch_sizes(model, one, layout, _chosen(batch_size))
    explanations, _ = memory.with_smaller_batches(
        lambda size: programs.run_local(
            model,
            components,
            layout.arrays,
            method,
            keys,
            (min(sizes[0], size), min(sizes[1], size)),
        ),
        max(sizes),
    )
    return dataclasses.replace(explanations, num_evaluations=layout.num_entries)


def _refuse_mesh(mesh: Mesh | None) -> None:
    if mesh is not None:
        raise ValueError("`mesh` is for models that run on it. Leave it out for a host model.")


def _of_all_processes(batch_size: int, mesh: Mesh | None) -> int:
    """Process 0's choice: all must compile the same program."""
    if mesh is None or jax.process_count() == 1:
        return batch_size
    return int(multihost_utils.broadcast_one_to_all(np.int32(batch_size)))


def _on_every_device(tree: Any, mesh: Mesh | None) -> Any:
    """What every process holds becomes one array of all; a single process needs nothing."""
    if mesh is None or jax.process_count() == 1:
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())

    def put(x: Any) -> Any:
        if not isinstance(x, (jax.Array, np.ndarray)):
            return x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                put(jax.random.key_data(x)), impl=jax.random.key_impl(x)
            )
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            return x
        values = np.asarray(x)
        return jax.make_array_from_callback(values.shape, everywhere, lambda part: values[part])

    return jax.tree.map(put, tree)


def _keys_per_item(key: MaybeKey, num_items: int) -> MaybeKey:
    if key is None or key.ndim == 0:
        return None if key is None else jax.random.split(key, num_items)
    if key.shape != (num_items,):
        raise ValueError(f"`key` must be one key or one per item, ({num_items},), got {key.shape}.")
    return key


def _one_key(key: Any) -> Any:
    key = _checked_key(key)
    if key is not None and key.ndim:
        raise ValueError(f"`key` must be a single key, got {key.shape} keys. Pass one of them.")
    return key


def _checked_key(key: Any) -> Any:
    dtype = getattr(key, "dtype", np.dtype(object))
    if key is not None and not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise ValueError(
            f"`key` must be a typed key, got {type(key).__name__}. Pass `jax.random.key(seed)`."
        )
    return key
