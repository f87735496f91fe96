"""The explanation of a track's relevance: times, sources, or both, as LEMONS explains it."""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lime_jax import storage
from lime_jax.audio import segment
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core.execution.progress import Progress
from lime_jax.core.explain import explain
from lime_jax.core.explanation import Explanation, Status
from lime_jax.core.methods import Method, exhaustive, lime
from lime_jax.errors import unknown_name
from lime_jax.separation.base import Stems

_KINDS = {"time": "time", "source": "stems", "time-source": "stems-time"}
TYPES = tuple(_KINDS)
NUM_SEGMENTS = 5
NUM_SAMPLES = 2048
SEED = 0
SILENCE = 10 ** (-60 / 20)
"""The peak, of full scale, below which a component is not heard."""

_SCALARS = ("prediction", "local_prediction", "intercept", "fidelity")


@dataclasses.dataclass(frozen=True)
class Component:
    """A component of a track, and what it does for the relevance.

    Attributes:
      index: in the mask; `5 * segment + source` for times and sources.
      name: such as "T3", "drums" or "drums T3", counted from 1.
      source: that it belongs to; None for times.
      segment: counted from 0; None for sources, which play throughout.
      start, end: in seconds.
      coefficient: of the surrogate, in units of the relevance.
      std_error: of the coefficient, from sampling; zero where all masks were evaluated.
      is_silent: whether nothing is heard of it. Switching it changes nothing, and yet sampling, or
        the penalty, gives it a small coefficient.
    """

    index: int
    name: str
    source: str | None
    segment: int | None
    start: float
    end: float
    coefficient: float
    std_error: float
    is_silent: bool


@dataclasses.dataclass(frozen=True)
class Record:
    """An explanation of a track's relevance, in plain values.

    Attributes:
      kind: one of `TYPES`.
      prediction: the relevance of the track.
      local_prediction: what the surrogate says of the track.
      intercept: of the surrogate.
      fidelity: weighted R² of the surrogate; NaN where nothing could be explained.
      status: "ok", or why nothing could be explained, in a sentence.
      num_samples: the size of the neighbourhood asked for.
      num_evaluations: different masks that were evaluated.
      seconds: that it took.
      seed: of the masks.
      sample_rate: of the track, in Hz.
      duration: of the track, in seconds.
      sources: names of the stems.
      segments: start and end of every time, in seconds; one that is the track, for sources.
      components: in the order of the mask.
    """

    kind: str
    prediction: float
    local_prediction: float
    intercept: float
    fidelity: float
    status: str
    num_samples: int
    num_evaluations: int
    seconds: float
    seed: int
    sample_rate: int
    duration: float
    sources: tuple[str, ...]
    segments: tuple[tuple[float, float], ...]
    components: tuple[Component, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for `json.dumps`; NaN becomes None."""
        return storage.plain(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Record":
        """Returns the record that `to_json` wrote; further fields are ignored.

        Raises:
          ValueError: if a field is missing.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if missing := [name for name in names if name not in record]:
            raise ValueError(f"`record` lacks {', '.join(missing)}. Compute the explanation again.")
        values = {name: record[name] for name in names}
        values["fidelity"] = math.nan if values["fidelity"] is None else values["fidelity"]
        values["sources"] = tuple(values["sources"])
        values["segments"] = tuple((start, end) for start, end in values["segments"])
        values["components"] = tuple(Component(**fields) for fields in values["components"])
        return cls(**values)


def explain_track(
    recommender: Any,
    stems: Stems,
    kind: str,
    *,
    progress: Progress | None = None,
    num_samples: int = NUM_SAMPLES,
    seed: int = SEED,
) -> Record:
    """Explains the relevance of a track with its times, its sources, or both.

    Times are five components, like sources, and all 32 masks are evaluated; both together are 25,
    and as many masks are drawn as LEMONS draws.

    Args:
      recommender: `(batch, num_samples)` to relevances `(batch, 1)`.
      stems: of the track; they add up to it.
      kind: one of `TYPES`.
      progress: called as `progress(done, total)`.
      num_samples: of the neighbourhood; of times or sources alone, that of the ridge penalty.
      seed: of the masks.

    Raises:
      ValueError: for another kind.

    References:
      Melchiorre, Haunschmid, Schedl, Widmer, LEMONS: Listenable Explanations for Music recOmmeNder
      Systems, 2021.
    """
    audio = segment_track(stems, kind)
    method, key = method_of(kind, num_samples), jax.random.key(seed)
    start = time.perf_counter()
    explanation = explain(recommender, audio.components, method, key=key, progress=progress)
    jax.block_until_ready(explanation)
    seconds = time.perf_counter() - start
    return _record(explanation, audio, stems, kind, num_samples, seconds, seed)


def segment_track(stems: Stems, kind: str) -> SegmentedAudio:
    """Cuts a track into components.

    Args:
      stems: of the track.
      kind: one of `TYPES`.

    Raises:
      ValueError: for another kind.
    """
    if kind not in TYPES:
        raise ValueError(unknown_name("`kind`", kind, TYPES))
    mono = stems.mono()
    waveforms = np.asarray(mono.waveforms, np.float32)
    if kind == "time":
        waveforms = waveforms.sum(axis=0, keepdims=True)
    return segment.by_kind(
        _KINDS[kind], waveforms, mono.sample_rate, NUM_SEGMENTS, names=mono.names
    )


def method_of(kind: str, num_samples: int = NUM_SAMPLES) -> Method:
    """Returns audioLIME's method; for few components, the limit that it scatters around."""
    if kind == "time-source":
        return lime(num_samples)
    return exhaustive(equivalent_num_samples=num_samples)


def _record(
    explanation: Explanation,
    audio: SegmentedAudio,
    stems: Stems,
    kind: str,
    num_samples: int,
    seconds: float,
    seed: int,
) -> Record:
    scalars = {name: float(np.asarray(getattr(explanation, name))[0]) for name in _SCALARS}
    status = Status(int(explanation.status[0]))
    if status is not Status.OK:
        scalars["fidelity"] = math.nan
    return Record(
        kind=kind,
        **scalars,
        status="ok" if status is Status.OK else status.advice,
        num_samples=num_samples,
        num_evaluations=int(explanation.num_evaluations),
        seconds=seconds,
        seed=seed,
        sample_rate=stems.sample_rate,
        duration=len(audio.waveform) / stems.sample_rate,
        sources=tuple(stems.names),
        segments=tuple(dict.fromkeys((extent.start, extent.end) for extent in audio.extents)),
        components=_components(explanation, audio, 1 if kind == "time" else len(stems.names), kind),
    )


def _components(
    explanation: Explanation, audio: SegmentedAudio, num_sources: int, kind: str
) -> tuple[Component, ...]:
    coefficients = np.asarray(explanation.coefficients)[0]
    std_errors = np.asarray(explanation.std_error)[0]
    peaks = _peaks(audio)
    return tuple(
        Component(
            index,
            extent.name,
            extent.source,
            None if kind == "source" else index // num_sources,
            extent.start,
            extent.end,
            float(coefficients[index]),
            float(std_errors[index]),
            bool(peaks[index] <= SILENCE),
        )
        for index, extent in enumerate(audio.extents)
    )


def _peaks(audio: SegmentedAudio) -> np.ndarray:
    """Returns the loudest sample of every component."""
    sources = np.abs(np.asarray(audio.components.sources))
    labels = np.broadcast_to(np.asarray(audio.components.labels), sources.shape[1:])
    segments = range(audio.components.num_segments)
    return np.array(
        [sources[:, labels == segment_id].max(axis=1, initial=0.0) for segment_id in segments]
    ).ravel()
