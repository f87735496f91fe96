"""Explaining predictions: the public functions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lime_jax.core.components import Components, check_one_item
from lime_jax.core.execution import batch_size as tuning
from lime_jax.core.execution import compiled, memory
from lime_jax.core.execution.batch_size import checked_batch_size
from lime_jax.core.execution.compiled import MaybeKey, Progress
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.execution.precision import products
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import keys_per_item, one_key
from lime_jax.core.methods import Method, settled
from lime_jax.core.predictor import Predict, as_predictor
from lime_jax.core.receptive_fields.executors import explain_by_layers, explain_locally
from lime_jax.core.receptive_fields.layers import declared_layers


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
        several processes all must call with the same arguments. A model that declares its locality
        needs one device, and neither jit nor several processes.
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
    key = one_key(key)
    check_one_item(components)
    if isinstance(predict, HostModel):
        _refuse_mesh(mesh)
        method = settled(method, components.num_components)
        items, keys = as_one_item((components, key))
        return item_of(
            compiled.run_on_host(
                predict, items, method, keys, checked_batch_size(batch_size), progress
            ),
            0,
        )
    predictor = as_predictor(predict)
    with products(precision):
        traced = tuning.is_traced((predictor, components, method, key))
        is_here = not traced and (mesh is None or jax.process_count() == 1)
        size = checked_batch_size(batch_size)
        by_layers = is_here and declared_layers(predict) is not None
        if by_layers:
            deep = explain_by_layers(predict, components, method, key, size, progress)
            if deep is not None:
                return deep
        items, keys = as_one_item((components, key))
        if is_here and not by_layers:
            if (found := explain_locally(predict, items, method, keys, size)) is not None:
                return _told(item_of(found, 0), progress)
        method = settled(method, components.num_components)
        size = size or tuning.batch_size_for(predictor, components, method, key, may_try=not traced)
        size = _of_all_processes(size, mesh)
        if traced:
            return compiled.run(predictor, components, method, key, size, mesh)
        is_heavy = lambda: compiled.is_heavy(predictor, items, method, keys, size)
        if mesh is None and (progress is not None or is_heavy()):
            run = lambda size: item_of(
                compiled.run_in_steps(predictor, items, method, keys, size, progress), 0
            )
        else:
            arguments = _on_every_device((predictor, components, method, key), mesh)
            run = lambda size: compiled.run(*arguments, size, mesh)
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
    keys = keys_per_item(key, num_items)
    if isinstance(predict, HostModel):
        _refuse_mesh(mesh)
        method = settled(method, components.num_components)
        return compiled.run_on_host(
            predict, components, method, keys, checked_batch_size(batch_size), None
        )
    predictor = as_predictor(predict)
    one, one_key = item_of((components, keys), 0)
    with products(precision):
        traced = tuning.is_traced((predictor, components, method, keys))
        if not traced and (mesh is None or jax.process_count() == 1):
            size = checked_batch_size(batch_size)
            found = explain_locally(predict, components, method, keys, size)
            if found is not None:
                return found
        method = settled(method, components.num_components)
        size = checked_batch_size(batch_size) or tuning.batch_size_for(
            predictor, one, method, one_key, num_items=num_items, may_try=not traced
        )
        size = _of_all_processes(size, mesh)
        if traced:
            return compiled.run_batch(predictor, components, method, keys, size, mesh)
        if mesh is None and compiled.is_heavy(predictor, components, method, keys, size):
            run = lambda size: compiled.run_in_steps(predictor, components, method, keys, size)
        else:
            arguments = _on_every_device((predictor, components, method, keys), mesh)
            run = lambda size: compiled.run_batch(*arguments, size, mesh)
        explanations, reached = memory.with_smaller_batches(run, size)
    if batch_size is None and reached != size:
        tuning.remember(predictor, one, reached)
    return explanations


def _told(explanation: Explanation, progress: Progress | None) -> Explanation:
    if progress is not None:
        progress(int(explanation.num_evaluations), int(explanation.num_evaluations))
    return explanation


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
