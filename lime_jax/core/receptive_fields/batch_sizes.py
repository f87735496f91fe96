"""How many windows, columns and masks of a model with a receptive field fit into memory at once."""

from typing import Any

import jax

from lime_jax.core.components import Components
from lime_jax.core.execution import memory
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.receptive_fields.layers import Layerwise
from lime_jax.core.receptive_fields.lookup import Lookup
from lime_jax.core.receptive_fields.windows import Layout, Windowed

_window_sizes: SignatureCache[tuple[int, int]] = SignatureCache()
_head_sizes: SignatureCache[int] = SignatureCache()


def window_batch_sizes(
    model: Windowed, components: Components, layout: Layout, batch_size: int | None
) -> tuple[int, int]:
    """Returns how many windows and how many masks are evaluated at a time."""
    if batch_size is not None:
        return batch_size, batch_size

    def measure() -> tuple[int, int]:
        window = shape_of_window(model, components)
        features = jax.eval_shape(_backbone, model, window)
        windows = jax.ShapeDtypeStruct((1, len(layout.first), *features.shape[1:]), features.dtype)
        return (
            memory.batch_size_for(_backbone, model, window),
            memory.batch_size_for(_head, model, windows),
        )

    return _window_sizes.get_or_make((signature(model, components), layout.num_entries), measure)


def shape_of_window(model: Windowed, components: Components) -> jax.ShapeDtypeStruct:
    """Returns the shape of a batch of one window."""
    shape = list(components.sources.shape[1:])
    shape[model.axis] = model.window
    return jax.ShapeDtypeStruct((1, *shape), components.sources.dtype)


def head_batch_size(model: Layerwise, lookup: Lookup) -> int:
    """Returns how many masks are evaluated at a time, once the columns are looked up."""

    def measure() -> int:
        shape = (1, len(lookup.first), *lookup.table.shape[1:])
        columns = jax.ShapeDtypeStruct(shape, lookup.table.dtype)
        return memory.batch_size_for(_head, model, columns)

    shapes = (signature(model), len(lookup.first), lookup.table.shape[1:])
    return _head_sizes.get_or_make(shapes, measure)


def _backbone(model: Any, window: Any) -> Any:
    return model.backbone(window)


def _head(model: Any, features: Any) -> Any:
    return model.head(features)
