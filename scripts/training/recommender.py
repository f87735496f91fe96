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

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int, Key

from lime_jax import storage
from lime_jax.errors import StoreError
from lime_jax.machine import describe_machine
from lime_jax.models import recommender
from lime_jax.models.recommender import SAMPLE_RATE
from scripts.experiments.common import command_line, results
from scripts.experiments.lemons.play_counts import Example
from scripts.training.recommender_data import (
    PLACES,
    Config,
    Data,
    batches,
    export_mixes,
    open_data,
    purpose_key,
    read_tracks,
    users_of,
)
from scripts.training.recommender_steps import (
    Run,
    begin,
    is_better,
    judge,
    recommender_of,
    scores_of,
    train_step,
)

SCORES = "scores.json"


PAPER = {"auc": "0.758 ± 0.113", "map": "0.734 ± 0.130"}
"""Mean over seven users of the Million Song Dataset, on test tracks."""


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
            self._step(run, places, purpose_key(self.config, 2), step)
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
        """Returns what is known about the networks."""
        return {
            "made_by": "scripts/training/recommender.py",
            "epochs": self.epoch,
            "minutes": round((time.perf_counter() - self.start) / 60, 2),
            "users": {run.user: _described(run) for run in self.runs},
            "mean": None,
            "paper": PAPER,
            "config": _settings(self.config),
            "machine": describe_machine(),
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
            epoch_key = jax.random.fold_in(
                jax.random.fold_in(purpose_key(self.config, 1), number), epoch
            )
            places = batches(len(run.examples["train"]), size, rng)
            losses += [self._step(run, some, epoch_key, step) for step, some in enumerate(places)]
        return losses

    def _step(
        self, run: Run, places: Int[np.ndarray, " batch"], key: Key[Array, ""], step: int
    ) -> Array:
        examples = [run.examples["train"][place] for place in places]
        rows = np.array([self.tracks.rows[example.track] for example in examples], np.int32)
        labels = np.array([example.is_relevant for example in examples], np.float32)
        tracks = (self.tracks.samples, self.tracks.lengths)
        run.state, loss = train_step(
            run.state,
            *tracks,
            rows,
            labels,
            key,
            np.int32(step),
            config=_program(self.config),
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

        def told(name):
            return [x[name] for x in last if x.get(name) is not None]

        def mean(name):
            return np.mean(told(name)) if told(name) else np.nan

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
    """Returns what the training wrote down.

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
    def spread(values):
        return np.std(values, ddof=min(1, len(values) - 1))

    def told(values):
        return f"{np.mean(values):.3f} ± {spread(values):.3f}"

    return {name: told([one[name] for one in tests.values()]) for name in ("auc", "map")}


def _settings(config: Config) -> dict[str, Any]:
    return {k: v for k, v in storage.plain(config).items() if k not in PLACES}


def _program(config: Config) -> Config:
    """The part of the options that the program of an epoch depends on."""
    names = ("batch_size", "learning_rate", "weight_decay", "precision")
    return Config(**{name: getattr(config, name) for name in names})


def _say(start: float, text: str) -> None:
    print(f"{(time.perf_counter() - start) / 60:5.2f} min  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config, tell))
