"""Trains LEMONS' recommenders, a network per user, on who listened to which tracks.

    uv run python -m scripts.training.recommender --library library
    uv run python -m scripts.training.recommender --audio audio --triplets plays.tsv --users ada bob

The training is that of Melchiorre et al. (2021): every track a user played is relevant, as many at
random that the user never played are not; binary cross-entropy, Adam at 0.001 with a decay of
weights of 0.0001 in the gradient, batches of 20, a second at random of every track in every epoch,
1000 epochs. The weights with the lowest loss on whole validation tracks are kept. They are judged
every 5 epochs instead of every one, and the last batch of an epoch is filled up with tracks of its
beginning.

A machine with an accelerator needs the folder of `--export-mixes` only: a library of one Ogg Vorbis
file of about 35 kbit/s per track, without test tracks. All tracks are held on the device.
`--time-limit` ends the training in time; from the first validation on, what was best so far is on
disk.

    uv run python -m scripts.training.recommender --library library --export-mixes mixes
    uv run python -m scripts.training.recommender --library mixes --time-limit 240
    uv run python -m scripts.training.recommender --library library --evaluate
"""

import concurrent.futures
import dataclasses
import functools
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from lime_jax.core.execution.precision import products
from lime_jax.errors import StoreError
from lime_jax.models import recommender
from lime_jax.models.recommender import SAMPLE_RATE, Network, Recommender
from scripts.experiments.common import command_line, results
from scripts.experiments.common.corpus import SPLITS
from scripts.experiments.lemons import play_counts
from scripts.experiments.lemons.play_counts import Example

CROP = SAMPLE_RATE
SCORES = "scores.json"
PAPER = {"auc": "0.758 ± 0.113", "map": "0.734 ± 0.130"}
"""Mean over seven users of the Million Song Dataset, on test tracks."""

_FULL_SCALE = 32767
_TRACKS_AT_ONCE = 8
_BLOCK = 2**16
_PLACES = ("library", "audio", "triplets", "output_dir", "export_mixes")

State = tuple[Any, Any, Any]
"""Weights, statistics of the normalisations, and what the optimiser remembers."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to train on, and how.

    Attributes:
      library: a folder with audio, plays.tsv and library.json, in place of the next two.
      audio: a folder with a file, or a folder of stems, per track.
      triplets: lines of user, track and count with tabs between, as in the Taste Profile.
      users: whose networks to train; all if not given.
      output_dir: for USER.npz and scores.json.
      epochs: over all training tracks of a user.
      batch_size: crops per step.
      learning_rate: of Adam.
      weight_decay: added to the gradient.
      seed: of everything at random.
      validate_every: so many epochs.
      best: which weights are kept, those of the lowest validation loss, or of the highest sum of
        AUC and MAP.
      precision: of products while training, default or float32; scores on tests are float32.
      time_limit: in seconds, from the start of the script; training stops before.
      evaluate: only scores the networks in `output_dir` on the test tracks, and writes that down.
      export_mixes: only writes the library with one Ogg file per track to this folder, without test
        tracks.
      compression: of the exported files, from 0 to 1.
      smoke: two users and epochs.
    """

    library: Path | None = None
    audio: Path | None = None
    triplets: Path | None = None
    users: tuple[str, ...] = ()
    output_dir: Path = Path("experiments/recommenders")
    epochs: int = 1000
    batch_size: int = 20
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 1930289
    validate_every: int = 5
    best: Literal["loss", "auc-map"] = "loss"
    precision: Literal["default", "float32"] = "default"
    time_limit: float | None = None
    evaluate: bool = False
    export_mixes: Path | None = None
    compression: float = 0.75
    smoke: bool = False


@dataclasses.dataclass(frozen=True)
class Data:
    """What all users share.

    Attributes:
      files: the audio of every track.
      plays: counts by user and track.
      splits: by track, or None.
    """

    files: Mapping[str, Path]
    plays: play_counts.Plays
    splits: Mapping[str, str] | None

    def examples(self, user: str, seed: int) -> dict[str, list[Example]]:
        """Of a user by split; where tracks have one, each has as many negatives as positives."""
        plays = self.plays[user]
        if self.splits is None:
            return play_counts.split(play_counts.examples_of(plays, self.files, seed), seed)
        return {part: play_counts.examples_of(plays, self._tracks(part), seed) for part in SPLITS}

    def _tracks(self, part: str) -> list[str]:
        return [t for t in self.files if self.splits is not None and self.splits.get(t) == part]


@dataclasses.dataclass(frozen=True)
class Tracks:
    """All tracks in memory.

    Attributes:
      samples: 16 bit, zeros behind the end of a track.
      lengths: of the tracks in samples.
      rows: by the id of a track.
    """

    samples: Int[Array | np.ndarray, "tracks samples"]
    lengths: Int[np.ndarray, " tracks"]
    rows: Mapping[str, int]


@dataclasses.dataclass
class Run:
    """The training of a user, as far as it is."""

    user: str
    examples: dict[str, list[Example]]
    state: State
    curve: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best: dict[str, Any] | None = None


def open_data(config: Config) -> Data:
    """Finds audio, plays and splits.

    Raises:
      StoreError: if they are missing or do not fit together.
    """
    audio, triplets, splits = config.audio, config.triplets, None
    if config.library is not None:
        audio = audio or config.library / play_counts.AUDIO
        triplets = triplets or config.library / play_counts.PLAYS
        splits = play_counts.read_splits(config.library / play_counts.LISTING)
    if audio is None or triplets is None:
        raise ValueError("`library`, or `audio` and `triplets`, must be given.")
    plays = play_counts.read_triplets(triplets)
    if unknown := [user for user in config.users if user not in plays]:
        raise StoreError(f"`{triplets}` holds no plays of {', '.join(unknown)}.")
    return Data(play_counts.audio_files(audio), plays, splits)


def users_of(config: Config, data: Data) -> tuple[str, ...]:
    users = config.users or tuple(data.plays)
    return users[:2] if config.smoke else users


def read_tracks(files: Mapping[str, Path], wanted: Sequence[str]) -> Tracks:
    """Decodes tracks side by side.

    Raises:
      AudioError: if one cannot be read.
      StoreError: if one is shorter than a second.
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda track: sixteen_bit(files[track]), wanted))
    lengths = np.array([len(samples) for samples in found], np.int32)
    if (short := int(lengths.argmin())) is not None and lengths[short] < CROP:
        raise StoreError(f"`{files[wanted[short]]}` is shorter than a second. Leave it out.")
    together = np.zeros((len(found), lengths.max()), np.int16)
    for row, samples in zip(together, found, strict=True):
        row[: len(samples)] = samples
    return Tracks(together, lengths, {track: row for row, track in enumerate(wanted)})


def sixteen_bit(path: Path) -> Int[np.ndarray, " num_samples"]:
    waveform = play_counts.load_track(path, SAMPLE_RATE)
    return np.round(np.clip(waveform, -1, 1) * _FULL_SCALE).astype(np.int16)


@functools.cache
def graph_of() -> Any:
    """The structure of the network, without weights."""
    network = nnx.eval_shape(lambda: Network(rngs=nnx.Rngs(0)))
    return nnx.split(network, nnx.Param, nnx.BatchStat)[0]


def optimiser_of(config: Config) -> optax.GradientTransformation:
    """Adam whose decay of weights is part of the gradient, as in PyTorch's."""
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.adam(config.learning_rate)
    )


def begin(config: Config, number: int) -> State:
    """Of the user of this number, before the first step."""
    network = Network(rngs=nnx.Rngs(params=jax.random.fold_in(_key(config, 0), number)))
    _, params, statistics = nnx.split(network, nnx.Param, nnx.BatchStat)
    return params, statistics, optimiser_of(config).init(params)


def loss_of(
    params: Any,
    statistics: Any,
    waveforms: Float[Array, "batch samples"],
    labels: Float[Array, " batch"],
    key: Key[Array, ""],
) -> tuple[Float[Array, ""], Any]:
    """Mean cross-entropy, and the statistics after this batch."""
    network = nnx.merge(graph_of(), params, statistics, copy=True)
    frames = recommender.log_mel(waveforms)
    logits = network.logits(frames, key=key)[:, 0]
    loss = optax.sigmoid_binary_cross_entropy(logits, labels).mean()
    return loss, nnx.state(network, nnx.BatchStat)


def crops(
    samples: Int[Array, "tracks samples"],
    lengths: Int[Array, " tracks"],
    rows: Int[Array, " batch"],
    key: Key[Array, ""],
) -> Float[Array, "batch 16000"]:
    """A second of each of these tracks, from anywhere in it."""
    starts = jax.random.randint(key, rows.shape, 0, lengths[rows] - CROP + 1)
    cut = lambda row, start: jax.lax.dynamic_slice(samples, (row, start), (1, CROP))[0]
    return jax.vmap(cut)(rows, starts).astype(jnp.float32) / _FULL_SCALE


def batches(number: int, size: int, rng: np.random.Generator) -> Int[np.ndarray, "steps size"]:
    """Places of the items of every step in an epoch; the last one goes on at the beginning."""
    num_steps = -(-number // size)
    return np.resize(rng.permutation(number), (num_steps, size))


@functools.partial(jax.jit, static_argnames="config", donate_argnames="state")
def train_step(
    state: State,
    samples: Int[Array, "tracks samples"],
    lengths: Int[Array, " tracks"],
    rows: Int[Array, " batch"],
    labels: Float[Array, " batch"],
    key: Key[Array, ""],
    index: Int[np.ndarray, ""],
    *,
    config: Config,
) -> tuple[State, Float[Array, ""]]:
    """One step on a second of each of these tracks; returns the loss as well.

    Steps are programs of their own: on CPUs convolutions inside loops are a hundred times slower.
    """
    params, statistics, remembered = state
    key_crops, key_dropout = jax.random.split(jax.random.fold_in(key, index))
    waveforms = crops(samples, lengths, rows, key_crops)
    gradient = jax.value_and_grad(loss_of, has_aux=True)
    with products(config.precision):
        (loss, statistics), slope = gradient(params, statistics, waveforms, labels, key_dropout)
    updates, remembered = optimiser_of(config).update(slope, remembered, params)
    return (optax.apply_updates(params, updates), statistics, remembered), loss


@functools.partial(jax.jit, static_argnames=("num_samples", "precision"))
def logits_of(
    params: Any,
    statistics: Any,
    samples: Int[Array, "tracks samples"],
    rows: Int[Array, " batch"],
    *,
    num_samples: int,
    precision: str,
) -> Float[Array, " batch"]:
    """Of the first so many samples of tracks."""
    network = nnx.merge(graph_of(), params, statistics)
    waveforms = samples[rows, :num_samples].astype(jnp.float32) / _FULL_SCALE
    with products(precision):
        return network.logits(recommender.log_mel(waveforms))[:, 0]


def judge(
    state: State, tracks: Tracks, examples: Sequence[Example], precision: str
) -> Float[np.ndarray, " examples"]:
    """Logits of tracks up to their last whole second, so that tracks share programs."""
    params, statistics, _ = state
    rows = np.array([tracks.rows[example.track] for example in examples])
    seconds = tracks.lengths[rows] // SAMPLE_RATE
    found = np.zeros(len(rows))
    told = []
    for length in np.unique(seconds):
        places = np.flatnonzero(seconds == length)
        for first in range(0, len(places), _TRACKS_AT_ONCE):
            some = places[first : first + _TRACKS_AT_ONCE]
            padded = np.resize(some, _TRACKS_AT_ONCE)
            size = {"num_samples": int(length) * SAMPLE_RATE, "precision": precision}
            told.append((some, logits_of(params, statistics, tracks.samples, rows[padded], **size)))
    for some, logits in told:
        found[some] = np.asarray(logits)[: len(some)]
    return found


def scores_of(examples: Sequence[Example], logits: Float[np.ndarray, " examples"]) -> dict:
    """Loss, AUC and average precision."""
    labels = np.array([example.is_relevant for example in examples])
    return {
        "loss": float((np.logaddexp(0, logits) - labels * logits).mean()),
        "auc": play_counts.roc_auc(labels, logits),
        "map": play_counts.average_precision(labels, logits),
    }


def is_better(config: Config, found: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
    if not np.isfinite(found["loss"]):
        return False
    if config.best == "loss":
        return best is None or found["loss"] < best["loss"]
    return best is None or found["auc"] + found["map"] > best["auc"] + best["map"]


def recommender_of(state: State) -> Recommender:
    return Recommender(nnx.merge(graph_of(), *state[:2]))


class Trainer:
    """All users in turn, a few epochs each, so that a limit of time is the same for all."""

    def __init__(self, config: Config, data: Data, start: float):
        self.config, self.start = config, start
        users = users_of(config, data)
        needed = ("train", "validation")
        examples = {
            user: _checked(user, data.examples(user, config.seed), needed) for user in users
        }
        wanted = sorted({e.track for parts in examples.values() for p in parts.values() for e in p})
        tracks = read_tracks(data.files, wanted)
        _say(start, f"{len(wanted)} tracks are read, {tracks.lengths.sum() / SAMPLE_RATE:.0f} s")
        self.tracks = dataclasses.replace(tracks, samples=jnp.asarray(tracks.samples))
        self.runs = [
            Run(user, examples[user], begin(config, number)) for number, user in enumerate(users)
        ]
        self.epoch = 0

    def rehearse(self) -> None:
        """Compiles everything and writes everything once, before anything takes long.

        What has learnt nothing goes to a folder that does not stay.
        """
        run, number = self.runs[0], 0
        places = np.arange(self.config.batch_size) % len(run.examples["train"])
        for step in range(2):
            self._step(run, places, _key(self.config, 2), step)
        run.state = begin(self.config, number)
        with tempfile.TemporaryDirectory(dir=self.config.output_dir, prefix=".trial-") as trial:
            for run in self.runs:
                judge(run.state, self.tracks, run.examples["validation"], self.config.precision)
                path = Path(trial) / self._path(run).name
                recommender.save(path, recommender_of(run.state), half=True)
                recommender.load(path)
            write_record(Path(trial), self.record())
        _say(self.start, f"compiled, and wrote {len(self.runs)} networks on trial")

    def train(self, num_epochs: int) -> None:
        """Until all epochs are done or the time is over."""
        longest = 0.0
        while self.epoch < num_epochs and not self._is_over(longest):
            began, last = time.perf_counter(), self.epoch
            self.epoch = min(num_epochs, last + self.config.validate_every)
            losses = [self._train(run, number, last) for number, run in enumerate(self.runs)]
            for run, steps in zip(self.runs, losses, strict=True):
                self._validate(run, float(np.mean(jax.device_get(steps))))
            if any(run.best for run in self.runs):
                write_record(self.config.output_dir, self.record())
            longest = max(longest, time.perf_counter() - began)
            self._tell()
        self._check_learnt()

    def record(self) -> dict[str, Any]:
        """What is known about the networks."""
        return {
            "made_by": "scripts/training/recommender.py",
            "epochs": self.epoch,
            "minutes": round((time.perf_counter() - self.start) / 60, 2),
            "users": {run.user: _described(run) for run in self.runs},
            "mean": None,
            "paper": PAPER,
            "config": _settings(self.config),
            "machine": results.machine(),
        }

    def _check_learnt(self) -> None:
        """Refuses to go on without a network that was validated, for each user."""
        if self.epoch == 0:
            raise StoreError(
                f"nothing was learnt: `time_limit` of {self.config.time_limit:g} s was over before "
                "the first epoch, so no network was written. Allow more."
            )
        if unlearnt := [run.user for run in self.runs if run.best is None]:
            raise StoreError(
                f"nothing was learnt for {', '.join(unlearnt)}: no validation gave finite outputs, "
                "so no network was written. Lower `learning_rate`."
            )

    def _train(self, run: Run, number: int, first: int) -> list[Array]:
        """All epochs from the first one on to the present one; the losses of their steps."""
        size = self.config.batch_size
        losses = []
        for epoch in range(first, self.epoch):
            rng = np.random.default_rng((self.config.seed, number, epoch))
            key = jax.random.fold_in(jax.random.fold_in(_key(self.config, 1), number), epoch)
            places = batches(len(run.examples["train"]), size, rng)
            losses += [self._step(run, some, key, step) for step, some in enumerate(places)]
        return losses

    def _step(
        self, run: Run, places: Int[np.ndarray, " batch"], key: Key[Array, ""], step: int
    ) -> Array:
        examples = [run.examples["train"][place] for place in places]
        rows = np.array([self.tracks.rows[example.track] for example in examples], np.int32)
        labels = np.array([example.is_relevant for example in examples], np.float32)
        tracks = (self.tracks.samples, self.tracks.lengths)
        run.state, loss = train_step(
            run.state, *tracks, rows, labels, key, np.int32(step), config=_program(self.config)
        )
        return loss

    def _validate(self, run: Run, training_loss: float) -> None:
        examples = run.examples["validation"]
        logits = judge(run.state, self.tracks, examples, self.config.precision)
        if not np.isfinite(logits).all():
            run.curve.append({"epoch": self.epoch, "training": training_loss, "loss": None})
            return
        found = {"epoch": self.epoch, "training": training_loss, **scores_of(examples, logits)}
        run.curve.append(found)
        if is_better(self.config, found, run.best):
            run.best = found
            recommender.save(self._path(run), recommender_of(run.state), half=True)

    def _is_over(self, round_seconds: float) -> bool:
        limit = self.config.time_limit
        return limit is not None and time.perf_counter() - self.start + round_seconds > limit

    def _tell(self) -> None:
        last = [run.curve[-1] for run in self.runs]
        told = lambda name: [x[name] for x in last if x.get(name) is not None]
        mean = lambda name: np.mean(told(name)) if told(name) else np.nan
        _say(
            self.start,
            f"epoch {self.epoch:4d}  training loss {mean('training'):.4f}  validation loss "
            f"{mean('loss'):.4f}  AUC {mean('auc'):.3f}  MAP {mean('map'):.3f}",
        )

    def _path(self, run: Run) -> Path:
        return self.config.output_dir / f"{run.user}.npz"


def run(config: Config) -> dict[str, Any] | None:
    """Trains, tests and exports; returns what scores.json says."""
    start = time.perf_counter()
    if config.smoke:
        config = dataclasses.replace(config, epochs=2, validate_every=1)
    for name in ("epochs", "batch_size", "validate_every"):
        if getattr(config, name) < 1:
            raise ValueError(f"`{name}` must be at least 1, got {getattr(config, name)}.")
    data = open_data(config)
    if config.export_mixes is not None:
        export_mixes(config, data, config.export_mixes)
        return None
    config.output_dir.mkdir(parents=True, exist_ok=True)
    if config.evaluate:
        return with_tests(config, data, read_record(config))
    trainer = Trainer(config, data, start)
    trainer.rehearse()
    trainer.train(config.epochs)
    return with_tests(config, data, trainer.record())


def read_record(config: Config) -> dict[str, Any]:
    """What the training wrote down.

    Raises:
      StoreError: if it did not.
    """
    path = config.output_dir / SCORES
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"`{path}` cannot be read ({error}). Train first.") from error


def with_tests(config: Config, data: Data, record: dict[str, Any]) -> dict[str, Any]:
    """Adds the scores on test tracks, as far as there are such, and writes the record again."""
    tests = {}
    for user in config.users or tuple(record["users"]):
        examples = data.examples(user, config.seed)["test"]
        if len({example.is_relevant for example in examples}) == 2:
            tests[user] = test(config.output_dir / f"{user}.npz", data.files, examples)
            record["users"][user]["test"] = _rounded(tests[user])
            record["users"][user]["num_examples"]["test"] = len(examples)
    if tests:
        record = {**record, "mean": _summary(tests)}
        write_record(config.output_dir, record)
    return record


def test(path: Path, files: Mapping[str, Path], examples: Sequence[Example]) -> dict[str, float]:
    """Scores of a network as it is stored, in float32."""
    network = recommender.load(path).network
    _, params, statistics = nnx.split(network, nnx.Param, nnx.BatchStat)
    tracks = read_tracks(files, [example.track for example in examples])
    return scores_of(examples, judge((params, statistics, None), tracks, examples, "float32"))


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    results.write_text(folder / SCORES, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def export_mixes(config: Config, data: Data, folder: Path) -> None:
    """Writes a library with an Ogg file per track, small enough to travel."""
    import soundfile

    (folder / play_counts.AUDIO).mkdir(parents=True, exist_ok=True)
    total, number = 0, 0
    for track, path in data.files.items():
        if data.splits is not None and data.splits.get(track) == "test":
            continue
        target = folder / play_counts.AUDIO / f"{track}.ogg"
        samples = sixteen_bit(path)
        with soundfile.SoundFile(
            target, "w", SAMPLE_RATE, 1, "VORBIS", compression_level=config.compression
        ) as sound:
            # libsndfile overflows its stack on long Vorbis waveforms in one piece.
            for block in np.split(samples, range(_BLOCK, len(samples), _BLOCK)):
                sound.write(block)
        total, number = total + target.stat().st_size, number + 1
    if config.library is not None:
        for name in (play_counts.PLAYS, play_counts.LISTING):
            results.write_bytes(folder / name, (config.library / name).read_bytes())
    print(f"{number} mixes in {folder}, {total / 2**20:.1f} MiB")


def tell(record: dict[str, Any] | None) -> None:
    """Prints the scores on test tracks."""
    for user, one in (record or {"users": {}})["users"].items():
        if test := one["test"]:
            print(f"{user}: test AUC {test['auc']:.3f}, MAP {test['map']:.3f}")
    if record and record.get("mean"):
        print(f"mean: AUC {record['mean']['auc']} (paper {PAPER['auc']}), ", end="")
        print(f"MAP {record['mean']['map']} (paper {PAPER['map']})")


def _checked(
    user: str, examples: dict[str, list[Example]], needed: Sequence[str]
) -> dict[str, list[Example]]:
    """Examples of both kinds in these splits."""
    for part in needed:
        if len({example.is_relevant for example in examples[part]}) < 2:
            raise StoreError(
                f"the user {user!r} has no played and unplayed tracks with audio in the {part} "
                "split. Leave the user out, or add audio."
            )
    return {part: examples[part] for part in needed}


def _described(run: Run) -> dict[str, Any]:
    numbers = {part: len(examples) for part, examples in run.examples.items()}
    curve = [_rounded(one) for one in run.curve]
    best = None if run.best is None else _rounded(run.best)
    return {
        "num_examples": numbers,
        "best": best,
        "test": None,
        "curve": curve,
    }


def _rounded(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in scores.items()}


def _summary(tests: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    spread = lambda values: np.std(values, ddof=min(1, len(values) - 1))
    told = lambda values: f"{np.mean(values):.3f} ± {spread(values):.3f}"
    return {name: told([one[name] for one in tests.values()]) for name in ("auc", "map")}


def _settings(config: Config) -> dict[str, Any]:
    return {k: v for k, v in results.plain(config).items() if k not in _PLACES}


def _program(config: Config) -> Config:
    """The part of the options that the program of an epoch depends on."""
    names = ("batch_size", "learning_rate", "weight_decay", "precision")
    return Config(**{name: getattr(config, name) for name in names})


def _key(config: Config, purpose: int) -> Key[Array, ""]:
    return jax.random.fold_in(jax.random.key(config.seed), purpose)


def _say(start: float, text: str) -> None:
    print(f"{(time.perf_counter() - start) / 60:5.2f} min  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config, tell))
