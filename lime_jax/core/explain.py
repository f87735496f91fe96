"""Explaining predictions: the public functions."""

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

from lime_jax.core.components import Components, check_one_item
from lime_jax.core.execution import compiled, host, memory, stepwise
from lime_jax.core.execution.batch_size import check_batch_size, choose_batch_size, remember
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.execution.precision import products
from lime_jax.core.execution.progress import Progress
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey, keys_per_item, single_key
from lime_jax.core.methods import Method, resolve
from lime_jax.core.predictor import Predict, as_predictor
from lime_jax.core.pytree import is_traced
from lime_jax.core.receptive_fields.declaration import declaration
from lime_jax.core.receptive_fields.executors import explain_by_layers, explain_by_windows
from lime_jax.core.receptive_fields.layers import Layerwise


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
        budget, and before long work what runs fastest, tried out once per model and shape. A
        device that runs out of memory gets half as many and goes on, with a warning (not inside
        jit).
      precision: of the model's products. None is float32, or what `jax.default_matmul_precision`
        says; "default" is what the device does by itself (tf32 on NVIDIA GPUs, bf16 on TPUs).
      mesh: devices that share the masks, for example `jax.make_mesh((8,), ("devices",))`. Over
        several processes all must call with the same arguments. A model that declares its receptive
        field needs one device, and neither jit nor several processes.
      progress: called as `progress(done, total)`, in model evaluations, after every chunk (with a
        mesh, at the end); in columns, of a model that declares its layers. Ignored inside jit.

    Raises:
      ValueError: if an argument has the wrong shape, at trace time.
      ModelError: if a host model fails, or if one input alone does not fit into memory.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.array([[1.0, -1.0], [2.0, 2.0], [0.0, 0.0]]))
      >>> power = lambda batch: jnp.square(batch).mean(axis=1, keepdims=True)
      >>> explanation = lj.explain(power, stems, lj.lime(500), key=jax.random.key(0))
      >>> int(explanation.coefficients[0].argmax()), int(explanation.num_evaluations)
      (1, 8)
    """
    key = single_key(key)
    check_one_item(components)
    size = check_batch_size(batch_size)
    items, keys = as_one_item((components, key))
    if isinstance(predict, HostModel):
        _refuse_mesh(mesh)
        method = resolve(method, components.num_components)
        return item_of(host.run_on_host(predict, items, method, keys, size, progress), 0)
    predictor = as_predictor(predict)
    with products(precision):
        traced = is_traced((predictor, components, method, key))
        if not traced and _is_here(mesh):
            explanation = _explain_by_receptive_field(
                predict, components, method, key, size, progress
            )
            if explanation is not None:
                return explanation
        method = resolve(method, components.num_components)
        size = size or choose_batch_size(predictor, components, method, key, may_try=not traced)
        size = _agree_on(size, mesh)
        if traced:
            return compiled.run(predictor, components, method, key, size, mesh)
        in_steps = mesh is None and (
            progress is not None or stepwise.is_heavy(predictor, items, method, keys, size)
        )
        arguments = _on_every_device((predictor, components, method, key), mesh)

        def run(size: int) -> Explanation:
            if in_steps:
                steps = stepwise.run_in_steps(predictor, items, method, keys, size, progress)
                return item_of(steps, 0)
            return compiled.run(*arguments, size, mesh)

        explanation, reached = memory.retry_with_smaller_batches(run, size)
    if batch_size is None and reached != size:
        remember(predictor, components, reached)
    return explanation if mesh is None else _report_in_full(explanation, progress)


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
    keys = keys_per_item(key, num_items)
    size = check_batch_size(batch_size)
    if isinstance(predict, HostModel):
        _refuse_mesh(mesh)
        method = resolve(method, components.num_components)
        return host.run_on_host(predict, components, method, keys, size, None)
    predictor = as_predictor(predict)
    first, first_key = item_of((components, keys), 0)
    with products(precision):
        traced = is_traced((predictor, components, method, keys))
        if not traced and _is_here(mesh):
            explanations = explain_by_windows(predict, components, method, keys, size)
            if explanations is not None:
                return explanations
        method = resolve(method, components.num_components)
        size = size or choose_batch_size(
            predictor, first, method, first_key, num_items=num_items, may_try=not traced
        )
        size = _agree_on(size, mesh)
        if traced:
            return compiled.run_batch(predictor, components, method, keys, size, mesh)
        in_steps = mesh is None and stepwise.is_heavy(predictor, components, method, keys, size)
        arguments = _on_every_device((predictor, components, method, keys), mesh)

        def run(size: int) -> Explanation:
            if in_steps:
                return stepwise.run_in_steps(predictor, components, method, keys, size)
            return compiled.run_batch(*arguments, size, mesh)

        explanations, reached = memory.retry_with_smaller_batches(run, size)
    if batch_size is None and reached != size:
        remember(predictor, first, reached)
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
      >>> excerpts = (lj.from_stems(jnp.full((2, 4), float(i))) for i in range(3))
      >>> total = lambda batch: batch.sum(axis=1, keepdims=True)
      >>> [float(e.prediction[0]) for e in lj.explain_stream(total, excerpts, lj.shapley())]
      [0.0, 8.0, 16.0]
    """
    key = single_key(key)
    if num_items < 1:
        raise ValueError(f"`num_items` must be at least 1, got {num_items}.")
    explain_group = functools.partial(
        explain_batch, predict, method=method, batch_size=batch_size, precision=precision, mesh=mesh
    )

    def stream() -> Iterator[Explanation]:
        source = iter(components)

        def take() -> list[Components]:
            return list(itertools.islice(source, num_items))

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
                explanations = explain_group(
                    jax.tree.map(lambda *x: jnp.stack(x), *filled), key=keys
                )
                yield from (item_of(explanations, i) for i in range(len(group)))
                start += len(group)
                group = following.result()

    is_host = isinstance(predict, HostModel)
    return stream()


def _explain_by_receptive_field(
    predict: Predict,
    components: Components,
    method: Method,
    key: MaybeKey,
    batch_size: int | None,
    progress: Progress | None,
) -> Explanation | None:
    """Returns the explanation from what the model declares; None where whole inputs are cheaper."""
    if declaration(predict, Layerwise) is not None:
        return explain_by_layers(predict, components, method, key, batch_size, progress)
    items, keys = as_one_item((components, key))
    explanations = explain_by_windows(predict, items, method, keys, batch_size)
    return None if explanations is None else _report_in_full(item_of(explanations, 0), progress)


def _is_here(mesh: Mesh | None) -> bool:
    """Whether this process alone explains."""
    return mesh is None or jax.process_count() == 1


def _report_in_full(explanation: Explanation, progress: Progress | None) -> Explanation:
    if progress is not None:
        progress(int(explanation.num_evaluations), int(explanation.num_evaluations))
    return explanation


def _refuse_mesh(mesh: Mesh | None) -> None:
    if mesh is not None:
        raise ValueError("`mesh` is for models that run on it. Leave it out for a host model.")


def _agree_on(batch_size: int, mesh: Mesh | None) -> int:
    """Returns the choice of process 0: all must compile the same program."""
    if mesh is None or jax.process_count() == 1:
        return batch_size
    return int(multihost_utils.broadcast_one_to_all(np.int32(batch_size)))


def _on_every_device(tree: Any, mesh: Mesh | None) -> Any:
    """Makes one array of what all processes hold; a single process needs nothing."""
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
