"""What reproduce.py measures of a track that is recommended to a listener."""

import functools
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from lime_jax.core import ranking
from lime_jax.core.masks.bernoulli import Bernoulli
from lime_jax.lemons import explain_track
from lime_jax.lemons.library import Library
from lime_jax.lemons.listeners import Persona
from lime_jax.separation.base import Stems

Row = dict[str, Any]
Fits = Mapping[str, np.ndarray]

NUM_SOURCES, NUM_SEGMENTS, K = 5, explain_track.NUM_SEGMENTS, 3
NUM_COMPONENTS = NUM_SOURCES * NUM_SEGMENTS
_BATCH = 1024


@jax.jit
def relevance(recommender: Any, waveforms: Any) -> Any:
    """Of whole tracks, `(batch,)`."""
    return recommender(waveforms)[:, 0]


def relevances(recommender: Any, library: Library, tracks: Sequence[str]) -> list[float]:
    """Of tracks, one by one."""

    def ask(track):
        return relevance(recommender, mix_of(library.stems(track))[None])

    return [float(ask(track)[0]) for track in tracks]


def mix_of(stems: Stems) -> np.ndarray:
    return stems.waveforms.sum(axis=0)


def masks_of(num_samples: int, num_repeats: int, seed: int) -> np.ndarray:
    """Returns all masks of a track: those of times, of sources, then of each repeat for both.

    The masks of fewer samples are the first ones of more.
    """
    every = np.asarray(lj.exhaustive().sampler(None, NUM_SOURCES).masks)
    drawn = [
        np.asarray(Bernoulli(num_samples)(jax.random.key(seed + n), NUM_COMPONENTS).masks)
        for n in range(num_repeats)
    ]
    # Component `segment * 5 + source`: a time is five in a row, a source every fifth.
    return np.concatenate([np.repeat(every, NUM_SOURCES, 1), np.tile(every, NUM_SEGMENTS), *drawn])


def measured(
    recommender: Any,
    library: Library,
    persona: Persona,
    track: str,
    *,
    sizes: Sequence[int],
    num_repeats: int,
    seed: int,
) -> list[Row]:
    """Returns a row for each type of explanation.

    All three are fitted to outputs of one neighbourhood: with all sources of a segment, or all
    segments of a source, switched together, masks of times and of sources are masks of both.
    """
    stems = library.stems(track)
    components = explain_track.segment_track(stems, "time-source").components
    masks = masks_of(max(explain_track.NUM_SAMPLES, *sizes), num_repeats, seed)
    _, outputs = lj.predict_neighbourhood(
        recommender, components, jnp.asarray(masks), batch_size=_BATCH
    )
    outputs = np.asarray(outputs)
    every = np.asarray(lj.exhaustive().sampler(None, NUM_SOURCES).masks)
    few = len(every)
    plays = plays_of(components)
    asked = persona, stems.names, plays
    rows = [
        _row("time", *asked, _exact(every, outputs[:few])),
        _row("source", *asked, _exact(every, outputs[few : 2 * few])),
    ]
    repeats = np.split(np.arange(2 * few, len(masks)), num_repeats)
    both = _row(
        "time-source", *asked, _sampled(masks, outputs, repeats[0], explain_track.NUM_SAMPLES)
    )
    for size in sizes:
        fits = [_sampled(masks, outputs, rows_of, size) for rows_of in repeats]
        tops = [ranking.strongest(fit["coefficients"], K).tolist() for fit in fits]
        both[f"u_n_{size}"] = lj.metrics.u_n(tops)
        both[f"fidelity_{size}"] = float(np.mean([fit["fidelity"] for fit in fits]))
    other = another(plays, both["top"], seed, track)
    both |= _missed(recommender, components, both["top"], other)
    rows.append(both)
    style = library.tracks[track].style
    common = {"persona": persona.id, "track": track, "style": style}
    # Tables have the columns of their first row.
    every_column = dict.fromkeys(both) | common | {"relevance": float(outputs[0, 0])}
    return [every_column | row for row in rows]


def _exact(masks: np.ndarray, outputs: np.ndarray) -> Fits:
    method = explain_track.method_of("source")
    counts = jnp.full(len(masks), explain_track.NUM_SAMPLES / len(masks))
    fit = lj.fit_surrogate(jnp.asarray(masks), jnp.asarray(outputs), method, counts=counts)
    return _plain(fit)


def _sampled(masks: np.ndarray, outputs: np.ndarray, rows: np.ndarray, size: int) -> Fits:
    method = explain_track.method_of("time-source", size)
    chosen = rows[:size]
    return _plain(
        lj.fit_surrogate(jnp.asarray(masks[chosen]), jnp.asarray(outputs[chosen]), method)
    )


def _plain(fit: Any) -> Fits:
    return {name: np.asarray(getattr(fit, name))[0] for name in ("coefficients", "fidelity")}


def _row(kind: str, persona: Persona, sources: Sequence[str], plays: np.ndarray, fit: Fits) -> Row:
    """What stands first, whether the listener loves it, and how likely it is by chance."""
    top = ranking.strongest(fit["coefficients"], 1).tolist()
    row: Row = {"kind": kind, "top": top[0] if top else -1, "fidelity": float(fit["fidelity"])}
    if kind == "time":
        return row | {"source": None, "is_loved": None, "by_chance": None}
    source = sources[top[0] % NUM_SOURCES] if top else None
    if not persona.loves:
        return row | {"source": source, "is_loved": None, "by_chance": None}
    heard = plays.any(axis=0, keepdims=True) if kind == "source" else plays
    loved = np.array([[name in persona.loves for name in sources]])
    by_chance = float((loved & heard).sum() / heard.sum())
    return row | {"source": source, "is_loved": source in persona.loves, "by_chance": by_chance}


def with_loudest(rows: Sequence[Row], library: Library, listeners: Sequence[Persona]) -> list[Row]:
    """The rows with `loudest_is_loved`: whether the loudest component belongs to what is loved.

    It is the source, or the source in a segment, of the highest RMS; None where nothing is judged.
    """
    loves = {one.id: one.loves for one in listeners}
    judged = {row["track"] for row in rows if row["is_loved"] is not None}
    loudest = {track: loudest_of(library.stems(track)) for track in judged}
    return [
        row
        | {
            "loudest_is_loved": None
            if row["is_loved"] is None
            else loudest[row["track"]][row["kind"]] in loves[row["persona"]]
        }
        for row in rows
    ]


def loudest_of(stems: Stems) -> dict[str, str]:
    """Returns the source of the loudest component, for sources and for times and sources."""
    components = explain_track.segment_track(stems, "time-source").components
    power = np.square(np.asarray(components.sources, np.float64))
    labels = np.asarray(components.labels)
    segments = range(components.num_segments)
    both = np.array([power[:, labels == segment].mean(axis=1) for segment in segments])
    return {
        "source": stems.names[int(power.mean(axis=1).argmax())],
        "time-source": stems.names[int(both.argmax()) % NUM_SOURCES],
    }


def plays_of(components: Any) -> np.ndarray:
    """Returns whether each source is more than silence in each segment, `(segments, sources)`."""
    sources, labels = np.asarray(components.sources), np.asarray(components.labels)
    segments = range(components.num_segments)
    return np.array([sources[:, labels == segment].any(axis=1) for segment in segments])


def another(plays: np.ndarray, top: int, seed: int, track: str) -> int | None:
    """Returns a component that plays and is not the top one, at random; None if there is none."""
    others = [index for index in np.flatnonzero(plays).tolist() if index != top]
    # Of every track another one: the same place would be the same time in all of them.
    rng = np.random.default_rng((seed, zlib.crc32(track.encode())))
    return int(rng.choice(others)) if others else None


def _missed(recommender: Any, components: Any, top: int, other: int | None) -> Row:
    """The relevance without the top component, and without another one that plays."""
    if top < 0 or other is None:
        return {"without_top": None, "without_other": None}
    masks = np.ones((2, NUM_COMPONENTS), bool)
    masks[0, top] = masks[1, other] = False
    inputs = [lj.recompose(components, jnp.asarray(mask)) for mask in masks]
    found = [float(relevance(recommender, one[None])[0]) for one in inputs]
    return {"without_top": found[0], "without_other": found[1]}


@functools.cache
def recommender_in(folder: Path, persona: str) -> Any:
    """Returns the network of a listener."""
    from lime_jax.models import recommender

    return recommender.load(folder / f"{persona}.npz")
