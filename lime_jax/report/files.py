"""The files that a person gets: record, pictures, sounds and a page to open."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from lime_jax.audio import io
from lime_jax.audio.render import trim_silence
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core.explanation import Explanation
from lime_jax.core.over_fills import FillAverage
from lime_jax.report import players
from lime_jax.report import record as records
from lime_jax.report.explanation_plots import picture
from lime_jax.report.folder import check_folder, write_folder
from lime_jax.report.page import page
from lime_jax.report.wording import label
from lime_jax.storage import slug

_PAGE = "report.html"


def write(
    folder: str | Path,
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
) -> Path:
    """Writes `report.html`, `explanation.json`, a picture per output and the heard explanation.

    For the first output, here number 3 called "drums", `3-drums-top-highlight.wav` is the component
    of largest positive weight, `3-drums-top-2.wav` the sum of the `top_k` = 2 largest, without the
    silence at their ends; they are left out where no weight is positive.

    Args:
      folder: created with its parents; replaced if it is empty or holds an earlier report.
      explanation: of one item.
      audio: the sound that was explained, with its components.
      output_names: one per output of the model, texts or what becomes one.
      outputs: indices of the outputs to explain, the first one first. None means the three with
        the highest prediction.
      top_k: how many components of positive weight make up the heard explanation.
      title: of the page.
      config: what produced the explanation, a dataclass or mapping of plain values; stored as is.
      repeats: what `explanation` is the mean of, if anything, with a leading axis; the page then
        says how stable it is.
      over_fills: what else `explain_over_fills` found, where `explanation` is its mean over fills;
        the page then says how much hangs on them.
      fills: their names.

    Returns:
      The path of `report.html`.

    Raises:
      ValueError: if the arguments do not belong together.
      LimeJaxError: if the folder cannot be written or holds something else.
    """
    check_folder(folder)
    record = records.to_json(
        explanation, audio, output_names=output_names, outputs=outputs, top_k=top_k,
        title=title, config=config, repeats=repeats, over_fills=over_fills, fills=fills,
    )  # fmt: skip
    labels = [label(component, record["audio"]) for component in record["components"]]
    pictures = {
        f"{_stem(output)}.png": picture(output, labels, audio) for output in record["outputs"]
    }
    sounds = _sounds(record, audio)
    record = _with_files(record, list(pictures), list(sounds))
    html = _page(record, labels, audio, list(pictures.values()))
    files = {
        # Undecodable bytes of file names arrive as lone surrogates, which UTF-8 does not know.
        records.FILE_NAME: records.dumps(record).encode("utf-8", "backslashreplace"),
        _PAGE: html.encode("utf-8", "replace"),
        **pictures,
        **sounds,
    }
    return write_folder(folder, files) / _PAGE


def _with_files(
    record: Mapping[str, Any], pictures: Sequence[str], sounds: Sequence[str]
) -> dict[str, Any]:
    outputs = zip(record["outputs"], pictures, strict=True)
    return {
        **record,
        "outputs": [{**output, "picture": name} for output, name in outputs],
        "sounds": dict(zip(("top_highlight", "top_k"), sounds or (None, None), strict=True)),
        "files": [records.FILE_NAME, _PAGE, *pictures, *sounds],
    }


def _stem(output: Mapping[str, Any]) -> str:
    """What the file names of an output begin with."""
    return f"{output['index']}-{slug(output['name'])}"


def _sounds(record: Mapping[str, Any], audio: SegmentedAudio) -> dict[str, bytes]:
    """Sound files of the first output, by name."""
    first = record["outputs"][0]
    top = first["top_components"]
    if not top:
        return {}
    masks = [players.mask_of(components, len(audio.extents)) for components in (top[:1], top)]
    names = [f"{_stem(first)}-{end}.wav" for end in ("top-highlight", f"top-{record['top_k']}")]
    rate = audio.sample_rate
    waveforms = (trim_silence(waveform, rate) for waveform in players.render(audio, masks))
    return {
        name: io.encode(waveform, rate, "wav")
        for name, waveform in zip(names, waveforms, strict=True)
    }


def _page(
    record: Mapping[str, Any],
    labels: Sequence[str],
    audio: SegmentedAudio,
    pictures: Sequence[bytes],
) -> str:
    choices = [players.choices(output, labels) for output in record["outputs"]]
    masks = players.masks_that_fit(choices, record["audio"]["num_samples"])
    encoded = players.encode(players.render(audio, masks), audio.sample_rate)
    sounds = dict(zip(masks, encoded, strict=True))
    return page(record, pictures=pictures, labels=labels, players=choices, sounds=sounds)
