"""Snippets of equal shape together, so that items × masks fill the device."""

from collections.abc import Callable, Iterable, Iterator

from lime_jax.runs.loading import Failure, Snippet

_HELD_BYTES = 2**30


def batches(
    loaded: Iterable[list[Snippet] | Failure], num_items: Callable[[Snippet], int]
) -> Iterator[list[Snippet] | Failure]:
    """Snippets of the same shape and stems, up to `num_items` of them; failures as they come.

    Args:
      loaded: the snippets of one item after the other.
      num_items: how many snippets like this one go together.
    """
    waiting: dict[tuple, list[Snippet]] = {}
    held = 0
    for one in loaded:
        if isinstance(one, Failure):
            yield one
            continue
        for snippet in one:
            key = (snippet.waveforms.shape, snippet.names)
            group = waiting.setdefault(key, [])
            group.append(snippet)
            held += snippet.waveforms.nbytes
            if len(group) == num_items(snippet) or held > _HELD_BYTES:
                full = max(waiting, key=lambda key: sum(s.waveforms.nbytes for s in waiting[key]))
                full = key if len(group) == num_items(snippet) else full
                held -= sum(s.waveforms.nbytes for s in waiting[full])
                yield waiting.pop(full)
    yield from waiting.values()
