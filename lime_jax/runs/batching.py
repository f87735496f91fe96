"""Snippets of equal shape together, so that items × masks fill the device."""

from collections.abc import Callable, Iterable, Iterator

from lime_jax.runs.reader import Failure, Snippet

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
    sizes: dict[tuple, int] = {}
    held = 0
    for snippets in loaded:
        if isinstance(snippets, Failure):
            yield snippets
            continue
        for snippet in snippets:
            key = (snippet.waveforms.shape, snippet.names)
            if key not in sizes:
                sizes[key] = num_items(snippet)
            waiting.setdefault(key, []).append(snippet)
            held += snippet.waveforms.nbytes
            if len(waiting[key]) == sizes[key]:
                held -= _num_bytes(waiting[key])
                yield waiting.pop(key)
            elif held > _HELD_BYTES:
                largest = max(waiting, key=lambda key: _num_bytes(waiting[key]))
                held -= _num_bytes(waiting[largest])
                yield waiting.pop(largest)
    yield from waiting.values()


def _num_bytes(snippets: list[Snippet]) -> int:
    return sum(snippet.waveforms.nbytes for snippet in snippets)
