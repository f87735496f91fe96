"""Whether a model gives the same outputs again, in another place of another batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lime_jax.core.components import Components
from lime_jax.core.execution import accumulate
from lime_jax.core.execution.memory import is_out_of_memory
from lime_jax.core.predictor import Predictor

# Inputs of a batch, of which half is asked about again.
_NUM_INPUTS, _FEWEST = 6, 2
# By how much of their range outputs of the same input may differ, in an equal batch and in others.
_ALIKE, _NEARLY_ALIKE = 1e-3, 1e-2


def is_function(predictor: Predictor, components: Components, batch_size: int | None) -> bool:
    """Evaluates some inputs twice, the second time behind whole ones.

    Args:
      predictor: the model.
      components: of one item; random ones are on.
      batch_size: what the model is called with if it takes no few inputs; None lets it be called
        with several numbers of them.

    Returns:
      Whether it does; True where not even two inputs fit at a time.
    """
    size = min(batch_size or _NUM_INPUTS, _NUM_INPUTS)
    if batch_size and not _takes(predictor, components, size):
        size = batch_size
    while True:
        try:
            return _gives_again(predictor, components, size, batch_size is None)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size <= _FEWEST:
                return True
            size //= 2


def _takes(predictor: Predictor, components: Components, size: int) -> bool:
    masks = jax.ShapeDtypeStruct((1, size, components.num_components), bool)
    evaluate = functools.partial(accumulate.evaluate, batch_size=size)
    try:
        jax.eval_shape(evaluate, predictor, jax.tree.map(lambda x: x[None], components), masks)
    except Exception:
        return False
    return True


def _gives_again(
    predictor: Predictor, components: Components, size: int, takes_fewer: bool
) -> bool:
    some = (size + 1) // 2
    first = jax.random.bernoulli(jax.random.key(0), 0.5, (size, components.num_components))
    others = jnp.ones((size - some, components.num_components), bool)

    def outputs(masks: jax.Array) -> np.ndarray:
        items = jax.tree.map(lambda x: x[None], components)
        return np.asarray(accumulate.evaluate(predictor, items, masks[None], batch_size=size)[0])

    asked = outputs(first)[:some]
    again = outputs(jnp.concatenate([others, first[:some]]))[size - some :]
    if not are_alike(asked, again, _ALIKE):
        return False
    return not takes_fewer or are_alike(asked, outputs(first[:some]), _NEARLY_ALIKE)


def are_alike(outputs: np.ndarray, again: np.ndarray, share: float = _NEARLY_ALIKE) -> bool:
    """Returns whether outputs `(rows, num_outputs)` are the same but for rounding."""
    finite = np.isfinite(outputs) & np.isfinite(again)
    difference = np.abs(np.where(finite, again - outputs, 0)).max(axis=0)
    known = np.where(finite, outputs, 0)
    allowed = share * np.ptp(known, axis=0) + 1e-4 * np.abs(known).max(axis=0)
    return bool((difference <= allowed).all())
