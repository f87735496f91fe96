"""Explaining inputs as they come."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from lime_jax.core.components import Components
from lime_jax.core.execution.compiled import MaybeKey
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.explain import explain_batch
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import item_of
from lime_jax.core.keys import one_key
from lime_jax.core.methods import Method
from lime_jax.core.predictor import Predict


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
    key = one_key(key)
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
                yield from (item_of(some, i) for i in range(len(group)))
                start += len(group)
                group = following.result()

    is_host = isinstance(predict, HostModel)
    return stream()
