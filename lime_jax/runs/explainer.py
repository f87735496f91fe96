"""Explains batches of snippets: the model, the method and the components behind one call."""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lime_jax import models, settings
from lime_jax.audio import segment
from lime_jax.audio.render import waveform_predictor
from lime_jax.audio.segment import SegmentedAudio
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.explain import explain_batch
from lime_jax.core.explanation import Explanation
from lime_jax.core.methods import Method, most_evaluations
from lime_jax.errors import LimeJaxError, ModelError
from lime_jax.outputs import Outputs, OutputSelection
from lime_jax.runs import batch_components, batch_keys, schema
from lime_jax.runs.batch_result import BatchResult, failed_batch, merge_results
from lime_jax.runs.config import RunConfig
from lime_jax.runs.fixed_weights import fix_weights
from lime_jax.runs.items import Item
from lime_jax.runs.reader import AudioRequirements, Failure, Snippet, load, one_line

# Items of a batch: enough masks together to fill a device, and not too much sound in memory.
_NUM_MASKS, _MAX_ITEMS, _BATCH_BYTES = 1024, 64, 2**28
_NUM_PROBED = 50


@dataclasses.dataclass(frozen=True, eq=False)
class Explainer:
    """A model and how it is explained, ready for batches.

    Attributes:
      config: what is asked.
      model: waveforms `(batch, num_samples)` to outputs `(batch, num_outputs)`.
      predict: the same, with its name for messages, ready to be evaluated.
      output_names: of the model.
      outputs: those that are stored.
      method: how it is explained.
      requirements: what loading must provide.
      mesh: devices that share the items of a batch, or None.
    """

    config: RunConfig
    model: Any
    predict: Any
    output_names: tuple[str, ...]
    outputs: Outputs
    method: Method
    requirements: AudioRequirements
    mesh: Mesh | None

    def num_items(self, snippet: Snippet) -> int:
        """Returns how many snippets like this one make a batch; a multiple of the devices."""
        num_components = self._num_components(snippet)
        by_masks = _NUM_MASKS // min(most_evaluations(self.method, num_components), _NUM_MASKS)
        by_bytes = _BATCH_BYTES // snippet.waveforms.nbytes
        devices = 1 if self.mesh is None else self.mesh.size
        # Superpixels differ in number from item to item, so nothing can be stacked.
        most = 1 if self.config.components == "superpixels" else _MAX_ITEMS
        number = max(1, min(most, by_masks, by_bytes, self.config.part_items))
        return -(-number // devices) * devices

    def explain(self, batch: Sequence[Snippet]) -> BatchResult:
        """Explains snippets of one shape; those that cannot be explained become failures."""
        start = time.perf_counter()
        try:
            explanations, audios = self._explanations(self._fill_up(batch))
            prediction = np.asarray(explanations.prediction)
            _check_outputs(prediction, self.output_names, self.config.model)
        except (LimeJaxError, ValueError, RuntimeError, MemoryError) as error:
            if len(batch) == 1:
                [snippet] = batch
                failure = Failure(snippet.item, "explain", one_line(error), snippet.source)
                return failed_batch(failure)
            return merge_results([self.explain([snippet]) for snippet in batch])
        seconds = time.perf_counter() - start
        return self._result(batch, explanations, audios, seconds)

    def _result(
        self,
        batch: Sequence[Snippet],
        explanations: Explanation,
        audios: Sequence[SegmentedAudio],
        seconds: float,
    ) -> BatchResult:
        layouts = [batch_components.layout_of(audio) for audio in audios[: len(batch)]]
        names = [batch_components.layout_name(layout) for layout in layouts]
        # In NumPy: slices of any length compile nothing there.
        prediction = np.asarray(explanations.prediction)[: len(batch)]
        outputs = np.array([self.outputs.of(each) for each in prediction], np.int64)
        table = schema.results_table(
            batch,
            explanations,
            outputs,
            self.output_names,
            layouts=names,
            top_k=self.config.top_k,
            sample_rate=self.requirements.sample_rate,
            explain_seconds=seconds / len(batch),
        )
        return BatchResult(
            snippets=batch,
            table=table,
            num_outputs=outputs.shape[1],
            layouts=dict(zip(names, layouts, strict=True)),
            failures=(),
            num_evaluations=int(np.asarray(explanations.num_evaluations)[: len(batch)].sum()),
            seconds=seconds,
        )

    def _fill_up(self, batch: Sequence[Snippet]) -> list[Snippet]:
        """Repeats the last snippet, so that batches of one shape have one program."""
        return [*batch, *[batch[-1]] * (self.num_items(batch[0]) - len(batch))]

    def _explanations(
        self, batch: Sequence[Snippet]
    ) -> tuple[Explanation, Sequence[SegmentedAudio]]:
        keys = batch_keys.snippet_keys(self.config.seed, batch)
        fill_keys = batch_keys.fill_keys(keys, self.config.fill)
        waveforms = np.stack([snippet.waveforms for snippet in batch])
        used = np.array([snippet.num_samples for snippet in batch], np.int32)
        kind, rate = self.config.components, self.requirements.sample_rate
        segments = self.config.num_segments
        options: dict[str, Any] = {"names": batch[0].names, "fill": self.config.fill}
        if self.config.components == "superpixels":
            audios = [
                segment.by_kind(kind, waveform, rate, segments, **options, key=key, used=num_used)
                for waveform, key, num_used in zip(waveforms, fill_keys, used.tolist(), strict=True)
            ]
            components = batch_components.stack_components([audio.components for audio in audios])
        else:
            audio = batch_components.place_components(
                kind, waveforms.shape[1:], rate, segments, **options
            )
            audios = [audio] * len(batch)
            components = batch_components.cut_batch(
                kind, waveforms, rate, segments, **options, keys=fill_keys, used=used
            )
        explanations = explain_batch(
            waveform_predictor(self.predict, audios[0]),
            components,
            self.method,
            key=keys,
            batch_size=self.config.batch_size,
            precision=self.config.precision,
            mesh=self.mesh,
        )
        return explanations, audios

    def _num_components(self, snippet: Snippet) -> int:
        segments = self.config.num_segments
        sources = len(snippet.names) if self.config.has_stems else 1
        return sources * int(np.prod(segments or 1))


def explainer_of(config: RunConfig, items: Iterable[Item], *, model: Any = None) -> Explainer:
    """Loads the model and resolves the method, the outputs and what loading must provide.

    Args:
      config: what is asked.
      items: some of the data set. Where a model does not name its outputs, the first sound among
        them shows how many there are.
      model: to use instead of loading `config.model`.

    Raises:
      LimeJaxError: if the model cannot be used.
      ValueError: if an option is impossible.
    """
    method, selection = settings.method_of(config), OutputSelection.parse(config.outputs)
    model = models.resolve(config.model) if model is None else model

    def size(seconds):
        return round(seconds * model.sample_rate)

    snippet = None
    if config.snippet is not None:
        snippet = settings.snippet_num_samples(model, config.model, config.snippet)
    requirements = AudioRequirements(
        sample_rate=int(model.sample_rate),
        shortest=settings.shortest_input(model),
        with_stems=config.has_stems,
        snippet=snippet,
        hop=max(1, size(config.hop)) if config.hop else snippet or 0,
        resampler=getattr(model, "resampler", "soxr"),
        max_channels=config.max_channels,
        separator=settings.separator_of(config),
        residual=config.residual,
        keep_stems=config.keep_stems,
    )
    names = models.names_of_outputs(model) or _probed_names(config, model, requirements, items)
    outputs = selection.resolve(names)
    method = settings.target_outputs(method, outputs)
    devices = jax.local_devices()
    mesh = None
    if len(devices) > 1 and not isinstance(model, HostModel):
        mesh = Mesh(np.array(devices), ("devices",))
    predict = fix_weights(model, config.model)
    return Explainer(config, model, predict, names, outputs, method, requirements, mesh)


def _probed_names(
    config: RunConfig, model: Any, requirements: AudioRequirements, items: Iterable[Item]
) -> tuple[str, ...]:
    """Returns one name per output of a model that names none."""
    for item in itertools.islice(items, _NUM_PROBED):
        loaded = load(item, requirements)
        if not isinstance(loaded, Failure):
            whole = loaded[0].waveforms.sum(axis=0, keepdims=True)
            number = models.num_outputs(
                models.wrap_errors(model, config.model), whole, config.model
            )
            return models.output_names(model, number)
    raise ModelError(
        f"`{config.model}` has no `output_names`, and none of the first {_NUM_PROBED} items can be "
        "read to count its outputs. Name them, or check the files."
    )


def _check_outputs(prediction: np.ndarray, names: Sequence[str], model: str) -> None:
    if prediction.shape[1] != len(names):
        raise ModelError(
            f"`{model}` has {prediction.shape[1]} outputs and {len(names)} names. Name every "
            "output once."
        )
