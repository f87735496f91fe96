"""Explaining predictions: the public functions."""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lime_jax.core import choose
from lime_jax.core.arguments import whole_number
from lime_jax.core.components import Components, check_components, check_one_item
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.execution.progress import Progress
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import item_of
from lime_jax.core.keys import MaybeKey, single_key
from lime_jax.core.methods import Method
from lime_jax.core.modes import in_usual_modes
from lime_jax.core.over_fills import state_over_fills
from lime_jax.core.plan import Plan
from lime_jax.core.predictor import Predict
from lime_jax.core.problem import Problem


def explain(
    predict: Predict | HostModel,
    components: Components,
    method: Method,
    *,
    key: MaybeKey = None,
    batch_size: SupportsIndex | None = None,
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

    Warns (not inside jit) if an output has another status than OK; many items at a time do not.

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
    problem = Problem.of_item(
        predict,
        components,
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
        return explanation


def plan(
    predict: Predict | HostModel,
    components: Components,
    method: Method,
    *,
    key: MaybeKey = None,
    fills: Sequence[Any] | None = None,
    batch_size: SupportsIndex | None = None,
    precision: str | None = None,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Says how an explanation will be computed and what it takes; the model is not run.

    Args:
      predict: as for `explain`.
      components: of one item, as for `explain`; or of many, as for `explain_batch`.
      method: as for `explain`.
      key: as for `explain`; without one, masks are counted as if there were one.
      fills: as for `explain_over_fills`, whose plan this is then; every evaluation is of all fills.
      batch_size: as for `explain`.
      precision: as for `explain`.
      mesh: as for `explain`.
      progress: as for `explain`: who wants to be told has it done step by step.

    Example:
      >>> import jax.numpy as jnp, lime_jax as lj
      >>> components = lj.from_stems(jnp.ones((6, 1000)))
      >>> plan = lj.plan(lambda batch: jnp.tanh(batch[:, :2]), components, lj.lime(2000))
      >>> plan.num_evaluations, plan.is_exact
      (64, False)
      >>> str(plan).partition(", about")[0]
      'sampled through one compiled program: 64 evaluations, 64 at a time'
    """
    if fills is not None:
        state = functools.partial(state_over_fills, fills=fills)
    else:
        check_components(components)
        state = Problem.of_items if components.is_batched else Problem.of_item
    problem = state(
        predict,
        components,
        method=method,
        key=jax.random.key(0) if key is None else key,
        batch_size=batch_size,
        precision=precision,
        mesh=mesh,
        progress=progress,
        may_measure=False,
    )
    with problem.context:
        return choose.best_plan(problem)


def explain_batch(
    predict: Predict | HostModel,
    components: Components,
    method: Method,
    *,
    key: MaybeKey = None,
    batch_size: SupportsIndex | None = None,
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
    problem = Problem.of_items(
        predict,
        components,
        method,
        key=key,
        batch_size=batch_size,
        precision=precision,
        mesh=mesh,
    )
    with problem.context:
        return choose.solve(problem)


def explain_stream(
    predict: Predict | HostModel,
    components: Iterable[Components],
    method: Method,
    *,
    key: MaybeKey = None,
    num_items: SupportsIndex = 64,
    batch_size: SupportsIndex | None = None,
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
    num_items = whole_number("num_items", num_items)
    try:
        source = iter(components)
    except TypeError as error:
        raise ValueError(
            f"`components` must be an iterable of `Components`, got {type(components).__name__}."
        ) from error
    explain_group = functools.partial(
        explain_batch, predict, method=method, batch_size=batch_size, precision=precision, mesh=mesh
    )

    def stream() -> Iterator[Explanation]:
        def take() -> list[Components]:
            taken = list(itertools.islice(source, num_items))
            for one in taken:
                check_one_item(one)
            return taken

        start = 0
        with ThreadPoolExecutor(1) as reader:
            group = reader.submit(take).result()
            while group:
                following = reader.submit(take)
                # The last few are filled up, so that they fit the program of those before them.
                missing = num_items - len(group) if start and not is_host else 0
                filled = group + [group[-1]] * missing
                keys = None if key is None else _keys_from(key, start, len(filled))
                explanations = explain_group(
                    jax.tree.map(lambda *x: jnp.stack(x), *filled), key=keys
                )
                yield from (item_of(explanations, i) for i in range(len(group)))
                start += len(group)
                group = following.result()

    is_host = isinstance(predict, HostModel)
    return stream()


@in_usual_modes
def _keys_from(key: Any, start: int, number: int) -> Any:
    """Returns the keys of so many items, by their places in the stream."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, start + np.arange(number))
