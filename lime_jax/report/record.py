"""The explanation as a versioned record in strict JSON (docs/explanation-schema.md)."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import jax
import numpy as np

from lime_jax.audio.segment import ComponentExtent, SegmentedAudio
from lime_jax.audio.segmented_audio import check_audio
from lime_jax.core import ranking
from lime_jax.core.arguments import file_path, instance, listed, texts, whole_number
from lime_jax.core.explanation import Explanation, Status, check_explanation
from lime_jax.core.over_fills import FillAverage
from lime_jax.core.surrogates import uncertainty
from lime_jax.errors import LimeJaxError
from lime_jax.report import stability
from lime_jax.storage import number_of, plain

FORMAT = "lime-jax explanation"
SCHEMA_VERSION = 2
FILE_NAME = "explanation.json"

CONFIDENCE_LEVEL = 0.95
_NUM_OUTPUTS = 3


def to_json(
    explanation: Explanation,
    audio: SegmentedAudio,
    *,
    output_names: Iterable[Any],
    outputs: Iterable[SupportsIndex] | None = None,
    top_k: SupportsIndex = 3,
    title: str = "",
    config: Any = None,
    repeats: Explanation | None = None,
    over_fills: FillAverage | None = None,
    fills: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the explanation as plain numbers, strings, lists and mappings; NaN becomes None.

    Args:
      explanation: of one item, `(num_outputs, num_components)`.
      audio: the sound that was explained, with its components.
      output_names: one per output of the model, texts or what becomes one.
      outputs: indices of the outputs to report, the first one first. None means the three with
        the highest prediction.
      top_k: how many components of positive weight make up the heard explanation.
      title: of the report.
      config: what produced the explanation: a dataclass or mapping of plain values.
      repeats: what `explanation` is the mean of, if anything, with a leading axis.
      over_fills: what else is known of the fills that `explanation` is averaged over, if any.
      fills: their names.

    Raises:
      ValueError: if the arguments do not belong together.
    """
    output_names = texts("output_names", output_names)
    top_k = whole_number("top_k", top_k, hint="Choose how many components to hear.")
    _check_kinds(explanation, audio, repeats, over_fills)
    fills = listed("fills", fills, "names")
    _check_shapes(explanation, audio, output_names)
    stability.check(explanation, repeats, over_fills, fills)
    prediction = np.asarray(explanation.prediction)
    chosen = _chosen_outputs(prediction, outputs)
    device = jax.devices()[0]
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "title": title,
        "config": plain(config, "config"),
        "versions": _versions(),
        "device": {"platform": device.platform, "kind": device.device_kind},
        "audio": _audio_facts(audio),
        "num_samples": explanation.num_samples,
        "num_evaluations": int(explanation.num_evaluations),
        "is_exact": uncertainty.is_exact(explanation),
        "confidence_level": CONFIDENCE_LEVEL,
        "top_k": top_k,
        **({} if repeats is None else {"num_repeats": len(repeats.coefficients)}),
        **({} if over_fills is None else {"fills": list(fills)}),
        "components": [_component(i, extent) for i, extent in enumerate(audio.extents)],
        "outputs": [
            _output(explanation, index, output_names[index], top_k)
            | stability.describe_repeats(repeats, explanation, index, top_k)
            | stability.describe_fills(over_fills, explanation, fills, index, top_k)
            for index in chosen
        ],
        "predictions": [
            {"index": index, "name": name, "prediction": number_of(prediction[index])}
            for index, name in enumerate(output_names)
        ],
    }


def dumps(record: Mapping[str, Any]) -> str:
    """Returns the record as text; refuses NaN and infinity, which strict parsers reject."""
    return json.dumps(record, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def read(path: str | Path) -> dict[str, Any]:
    """Reads `explanation.json`, or the one inside a report folder.

    Raises:
      LimeJaxError: if there is none, it is none of ours, or a newer lime_jax wrote it.
    """
    path = file_path("path", path)
    path = path / FILE_NAME if path.is_dir() else path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LimeJaxError(
            f"`{path}` cannot be read ({error.strerror}). Name a report folder or its {FILE_NAME}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise LimeJaxError(f"`{path}` is not JSON. Name a file that lime-jax wrote.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise LimeJaxError(
            f"`{path}` has no `format` = {FORMAT!r}. Name a file that lime-jax wrote."
        )
    version = record.get("schema_version")
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise LimeJaxError(
            f"`{path}` has schema version {version!r}, this lime-jax reads 1 to {SCHEMA_VERSION}. "
            "Update lime-jax."
        )
    return record


def _versions() -> dict[str, str]:
    ours = importlib.metadata.version("lime-jax")
    return {"lime_jax": ours, "jax": jax.__version__, "numpy": np.__version__}


def _check_kinds(explanation: Any, audio: Any, repeats: Any, over_fills: Any) -> None:
    check_explanation(explanation)
    check_audio(audio)
    if repeats is not None:
        check_explanation(repeats, "repeats")
    if over_fills is not None:
        instance("over_fills", over_fills, FillAverage, "Pass what `explain_over_fills` returns.")


def _check_shapes(
    explanation: Explanation, audio: SegmentedAudio, output_names: Sequence[str]
) -> None:
    shape = np.shape(explanation.coefficients)
    if len(shape) != 2:
        raise ValueError(
            f"`explanation` must hold one item, got coefficients of shape {shape}. Take one item: "
            "jax.tree.map(lambda x: x[i], explanations)."
        )
    if shape[1] != len(audio.extents):
        raise ValueError(
            f"`explanation` has {shape[1]} components, `audio` {len(audio.extents)}. Pass the "
            "audio that was explained."
        )
    if shape[0] != len(output_names):
        raise ValueError(
            f"`output_names` must name {shape[0]} outputs, got {len(output_names)} names. Pass one "
            "name per output of the model."
        )


def _chosen_outputs(prediction: np.ndarray, outputs: Iterable[SupportsIndex] | None) -> list[int]:
    if outputs is None:
        order = np.argsort(-np.nan_to_num(prediction, nan=-np.inf), kind="stable")
        return [int(index) for index in order[:_NUM_OUTPUTS]]
    chosen = [
        whole_number("outputs", index, least=-len(prediction))
        for index in listed("outputs", outputs, "indices")
    ]
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"`outputs` must be distinct indices, got {chosen}. Name each one once.")
    if min(chosen) < 0 or max(chosen) >= len(prediction):
        raise ValueError(
            f"`outputs` must lie in [0, {len(prediction)}), got {chosen}. Use indices into "
            "`output_names`."
        )
    return chosen


def _audio_facts(audio: SegmentedAudio) -> dict[str, Any]:
    num_samples = len(audio.waveform)
    return {
        "duration": num_samples / audio.sample_rate,
        "num_samples": num_samples,
        "sample_rate": audio.sample_rate,
        "components": audio.kind,
        "n_fft": audio.n_fft,
    }


def _component(index: int, extent: ComponentExtent) -> dict[str, Any]:
    place = {name: float(getattr(extent, name)) for name in ("start", "end", "low", "high")}
    return {"id": index, "name": extent.name, "source": extent.source, **place}


def _output(explanation: Explanation, index: int, name: str, num_top: int) -> dict[str, Any]:
    def number(values: Any) -> float | None:
        return number_of(np.asarray(values)[index])

    interval = uncertainty.confidence_interval(explanation, level=CONFIDENCE_LEVEL)
    status = Status(int(np.asarray(explanation.status)[index]))
    top = ranking.top_k(explanation, index, num_top)[0].tolist() if status is Status.OK else []
    return {
        "index": index,
        "name": name,
        "status": status.name,
        "prediction": number(explanation.prediction),
        "local_prediction": number(explanation.local_prediction),
        "fidelity": number(explanation.fidelity),
        "intercept": number(explanation.intercept),
        "coefficients": [number_of(value) for value in np.asarray(explanation.coefficients)[index]],
        "std_error": [number_of(value) for value in np.asarray(explanation.std_error)[index]],
        "confidence_interval": [
            [number_of(low), number_of(high)]
            for low, high in zip(*(np.asarray(end)[index] for end in interval), strict=True)
        ],
        "num_lime_samples": number(explanation.num_lime_samples),
        "top_components": top,
        "top_k_confidence": number(uncertainty.top_k_confidence(explanation, num_top)),
    }
