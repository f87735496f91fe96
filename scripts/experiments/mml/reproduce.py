"""Do the best components of an explanation carry the decision? Stems against bands against chance.

V. Haunschmid, E. Manilow and G. Widmer, "audioLIME: Listenable Explanations Using Source
Separation", MML 2020: only the k strongest positive components of the explanation of a tagger's top
tag are kept, k = 3, 5, 7, 9, 11, and it is counted how often that tag stays on top.

    uv run --group music python -m scripts.music.render_songs --composer band --num-songs 400 --duration 30
    uv run lime-jax models fetch musicnn                     # 29 MB, once
    uv run python -m scripts.experiments.mml.reproduce --songs songs            # about 15 min on two cores
    uv run python -m scripts.experiments.mml.reproduce --songs songs --smoke    # less than a minute, nothing fetched
    uv run python -m scripts.experiments.mml.reproduce --songs slakh2100 --full # the paper's samples; a GPU

Components are five stems (audioLIME) or five frequency bands (SLIME), each cut in time: a "song" of
ten snippets of 3 s has ten segments, for the paper's FCN, which hears 29 s; a "snippet" has nine,
for its SampleCNN, which hears 3.7 s. "random" keeps k positive components of audioLIME that are not
among the best k, 32 times. An explanation with fewer than k of those is left out at that k.

The folder of results holds `clips.parquet` (every clip), `curves.parquet` and `curves.png` (shares
of clips beside the paper's) and `summary.json`. Killed at any moment, the same command goes on.
"""

import dataclasses
import math
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lime_jax as lj
from lime_jax.audio import features
from lime_jax.errors import AudioError, StoreError
from lime_jax.report import style
from scripts.experiments.common import command_line, corpus, results
from scripts.experiments.common.results import where

KS = (3, 5, 7, 9, 11)
NUM_RANDOM = 32
SNIPPET_SECONDS, NUM_SNIPPETS = 3, 10
SILENCE = 1e-5  # of full scale
NUM_BANDS, N_FFT, HOP_LENGTH = 5, 2048, 512

AUDIOLIME, SLIME, RANDOM = KINDS = ("audioLIME", "SLIME", "random")
NUM_SEGMENTS = {"song": NUM_SNIPPETS, "snippet": 9}
SETTINGS = tuple(NUM_SEGMENTS)

# Read off the paper's figure, to about 0.01: FCN, then SampleCNN.
PAPER = {
    ("song", AUDIOLIME): (0.46, 0.55, 0.61, 0.72, 0.79),
    ("song", SLIME): (0.37, 0.43, 0.46, 0.52, 0.54),
    ("song", RANDOM): (0.24, 0.22, 0.22, 0.22, 0.22),
    ("snippet", AUDIOLIME): (0.34, 0.40, 0.49, 0.60, 0.68),
    ("snippet", SLIME): (0.12, 0.20, 0.22, 0.23, 0.25),
    ("snippet", RANDOM): (0.18, 0.17, 0.16, 0.14, 0.10),
}
DIFFERENCES = (
    "Songs with known stems instead of 100 clips of the Million Song Dataset, whose audio cannot "
    "be had; so the stems are not Spleeter's estimates.",
    "One tagger in two settings instead of FCN and SampleCNN: its mean over ten snippets of 3 s, "
    "and one snippet of 3 s.",
    "One excerpt and one snippet of every song; the paper took 3 (FCN) and 16 (SampleCNN) of every "
    "clip.",
    "Explanations of a song are exact: what 16 384 samples scatter around. Those of a snippet have "
    "as many samples as `num_samples` says.",
    "Bands are cut in time as waveforms instead of by frames of the spectrogram; both differ at "
    "the edges of segments only.",
    "Random components come from audioLIME's explanations; silent components count as neither "
    "positive nor negative.",
)
PAPER_TAGGERS = {"song": "FCN", "snippet": "SampleCNN"}
# Colour, marker and a shift to the side, so that equal curves do not hide each other.
LOOKS = {
    AUDIOLIME: (style.FOR, "o", -0.12),
    SLIME: (style.AGAINST, "s", 0.12),
    RANDOM: (style.INK, "^", 0.0),
}

Row = dict[str, Any]
OutputsOf = Callable[[np.ndarray], np.ndarray]  # of masks, a row each


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
      num_songs: of the test songs, in a random order; None means all.
      num_samples: of the explanations of snippets. The ridge of all explanations is as strong as
        LIME has it at this number.
    """

    num_songs: int | None
    num_samples: int


SIZES = {"smoke": Size(8, 256), "default": Size(20, 512), "full": Size(None, 16_384)}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to explain.

    Attributes:
      songs: a folder of songs with stems: of `render_songs.py`, or Slakh2100.
      output_dir: where the results go; experiments/mml if not given, with -smoke or -full behind
        it.
      model: a name of `lime-jax models` or `package.module:factory`; msd-musicnn if None, or
        instrument-tagger with `smoke`.
      smoke: only shows that everything works.
      full: all test songs and as many samples as the paper.
      num_songs: how many songs, whatever the size says.
      seed: of the choice of songs, excerpts, samples and random components.
    """

    songs: Path = Path("songs")
    output_dir: Path | None = None
    model: str | None = None
    smoke: bool = False
    full: bool = False
    num_songs: int | None = None
    seed: int = 0

    @property
    def size(self) -> Size:
        """With `num_songs` as it was asked for."""
        if self.num_songs is not None and self.num_songs < 1:
            raise ValueError(f"`num_songs` must be at least 1, got {self.num_songs}.")
        size = command_line.chosen(SIZES, smoke=self.smoke, full=self.full)
        return (
            size if self.num_songs is None else dataclasses.replace(size, num_songs=self.num_songs)
        )

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return command_line.folder("mml", self)

    @property
    def origin(self) -> Row:
        """What every result depends on, apart from the clip."""
        model = self.model or ("instrument-tagger" if self.smoke else "msd-musicnn")
        return {"model": model, "num_samples": self.size.num_samples, "seed": self.seed}


@dataclasses.dataclass(frozen=True)
class Question:
    """What is explained, and how.

    Attributes:
      predict: the model, or what stands for it.
      components: of the sound.
      method: of the explanation.
      sounds: which components are not silent.
    """

    predict: Any
    components: lj.Components
    method: lj.Method
    sounds: np.ndarray

    def outputs_of(self, masks: np.ndarray) -> np.ndarray:
        """The model's outputs for masks, all in one call."""
        _, outputs = lj.predict_neighbourhood(self.predict, self.components, jnp.asarray(masks))
        return np.asarray(outputs)


def bands(waveform: np.ndarray) -> np.ndarray:
    """The waveform's parts in frequency bands of equally many bins, `(num_bands, num_samples)`.

    What is hidden in SLIME's spectrograms is zero, so keeping some bands is adding their waveforms.
    """
    spectrogram = features.stft(waveform, n_fft=N_FFT, hop_length=HOP_LENGTH)
    band_of = lj.equal_segments(len(spectrogram), NUM_BANDS)
    is_in = band_of[None] == jnp.arange(NUM_BANDS)[:, None]
    parts = jnp.where(is_in[..., None], spectrogram[None], 0)
    options = {"n_fft": N_FFT, "hop_length": HOP_LENGTH, "num_samples": len(waveform)}
    return np.asarray(features.istft(parts, **options))


def snippet_question(tagger: Any, sources: np.ndarray, num_samples: int) -> Question:
    """A single snippet, whose masks are sampled as in the paper."""
    number = NUM_SEGMENTS["snippet"]
    segments = lj.equal_segments(sources.shape[1], number)
    components = lj.cross(lj.from_stems(sources), segments, number)
    return Question(tagger, components, lj.lime(num_samples), sounding(sources, number))


def song_question(tagger: Any, sources: np.ndarray, num_samples: int) -> Question:
    """The mean over snippets, of which each is one segment.

    A snippet of five sources has 32 combinations. Each of them is evaluated once; the explanation,
    which is exact, and all that is asked afterwards look them up. So the components are those of a
    song with one number per snippet: the row of the table that its combination is found in.
    """
    table = combinations_of(tagger, np.split(sources, NUM_SNIPPETS, axis=1))
    bits = 2.0 ** np.arange(len(sources), dtype=np.float32)
    first = 2.0 ** len(sources) * np.arange(NUM_SNIPPETS, dtype=np.float32)
    codes = np.repeat(bits[:, None], NUM_SNIPPETS, axis=1)
    silent = np.zeros_like(codes)
    silent[0] = first
    stems = lj.from_stems(codes + silent, fill=silent)
    components = lj.cross(stems, lj.equal_segments(NUM_SNIPPETS, NUM_SNIPPETS), NUM_SNIPPETS)
    predict = lj.models.Snippets(jax.tree_util.Partial(look_up, table), 1)
    method = lj.lime(lj.auto(equivalent_num_samples=num_samples))
    return Question(predict, components, method, sounding(sources, NUM_SNIPPETS))


def sounding(sources: np.ndarray, num_segments: int) -> np.ndarray:
    """Which components are not silent, in the order of the mask: `(num_components,)`.

    Silent ones have a weight all the same, from sampling and from the ridge, and would count as
    positive.
    """
    size = sources.shape[1] // num_segments
    edges = [size * n for n in range(num_segments)]
    loudest = np.stack([np.abs(part).max(axis=1) for part in np.split(sources, edges[1:], axis=1)])
    return (loudest > SILENCE).ravel()


def combinations_of(tagger: Any, snippets: Sequence[np.ndarray]) -> jax.Array:
    """The outputs for all combinations of sources in every snippet, one after the other."""
    num_sources = len(snippets[0])
    masks = jnp.asarray(np.arange(2**num_sources)[:, None] >> np.arange(num_sources) & 1 == 1)
    outputs = [lj.predict_neighbourhood(tagger, lj.from_stems(s), masks)[1] for s in snippets]
    return jnp.concatenate(outputs)


def look_up(table: jax.Array, rows: jax.Array) -> jax.Array:
    return table[rows[:, 0].astype(jnp.int32)]


QUESTIONS = {"song": song_question, "snippet": snippet_question}


def subsets(positive: np.ndarray, k: int, num_random: int, rng: np.random.Generator) -> np.ndarray:
    """The k best, then random k of the others, `(1 + num_random, k)`; needs 2 k components.

    Args:
      positive: indices of components, the best first.
      k: how many are kept.
      num_random: how many random subsets.
      rng: draws them.
    """
    draws = [rng.choice(positive[k:], k, replace=False) for _ in range(num_random)]
    return np.stack([positive[:k], *draws])


def unchanged(
    outputs_of: OutputsOf,
    positive: np.ndarray,
    label: int,
    num_components: int,
    num_random: int,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Whether the label stays on top, `(1 + num_random,)` for every k that is not skipped."""
    masks = np.zeros((len(KS), 1 + num_random, num_components), bool)
    judged = [k for k in KS if len(positive) >= 2 * k]
    for mask, k in zip(masks, judged, strict=False):
        np.put_along_axis(mask, subsets(positive, k, num_random, rng), True, axis=1)
    # Always as many masks, so that the program is compiled once.
    outputs = outputs_of(masks.reshape(-1, num_components))
    is_same = (outputs.argmax(axis=1) == label).reshape(masks.shape[:2])
    return dict(zip(judged, is_same, strict=False))


def judge(question: Question, kind: str, key: jax.Array, rng: np.random.Generator) -> list[Row]:
    """Explains the top output and counts how often it stays on top; a row per kind and k."""
    explanation = lj.explain(question.predict, question.components, question.method, key=key)
    label = int(explanation.prediction.argmax())
    num_components = question.components.num_components
    positive = np.asarray(lj.top_k(explanation, label, num_components)[0])
    positive = positive[question.sounds[positive]]
    num_random = NUM_RANDOM if kind == AUDIOLIME else 0
    same = unchanged(question.outputs_of, positive, label, num_components, num_random, rng)
    shared = {"label": label, "num_positive": len(positive)}
    rows = [{"kind": kind, "k": k, "unchanged": share_of(same, k, slice(1)), **shared} for k in KS]
    if num_random:
        rest = slice(1, None)
        rows += [
            {**row, "kind": RANDOM, "unchanged": share_of(same, row["k"], rest)} for row in rows
        ]
    return [{**row, "skipped": row["unchanged"] is None} for row in rows]


def share_of(same: dict[int, np.ndarray], k: int, some: slice) -> float | None:
    """The mean of some of the answers at k; None if it was skipped."""
    return float(same[k][some].mean()) if k in same else None


def excerpt(song: corpus.Song, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Stems of ten snippets from anywhere in the song, `(num_families, num_samples)`."""
    stems = corpus.load(song, corpus.FAMILIES, sample_rate)
    size = NUM_SNIPPETS * SNIPPET_SECONDS * sample_rate
    if stems.shape[1] < size:
        raise AudioError(
            f"`{song.name}` lasts {stems.shape[1] / sample_rate:.1f} s. Use songs of at least "
            f"{NUM_SNIPPETS * SNIPPET_SECONDS} s."
        )
    start = rng.integers(stems.shape[1] - size, endpoint=True)
    return stems[:, start : start + size]


def judge_song(song: corpus.Song, tagger: Any, num_samples: int, seed: int) -> list[Row]:
    """All rows of a song; they depend on its name and the seed, not on other songs."""
    number = zlib.crc32(song.name.encode())
    rng = np.random.default_rng((seed, 1, number))
    key = jax.random.fold_in(jax.random.key(seed), number)
    stems = excerpt(song, tagger.sample_rate, rng)
    snippet = np.split(stems, NUM_SNIPPETS, axis=1)[rng.integers(NUM_SNIPPETS)]
    rows = []
    for setting, sound in {"song": stems, "snippet": snippet}.items():
        for kind, sources in {AUDIOLIME: sound, SLIME: bands(sound.sum(axis=0))}.items():
            start = time.perf_counter()
            question = QUESTIONS[setting](tagger, sources, num_samples)
            found = judge(question, kind, key, rng)
            shared = {"setting": setting, "clip": song.name, "seconds": time.perf_counter() - start}
            rows += [{**shared, **row} for row in found]
    return rows


def chosen_songs(config: Config, songs: Sequence[corpus.Song]) -> list[corpus.Song]:
    """Test songs in a random order; more songs begin with the same ones."""
    some = corpus.of_split(songs, "test")
    if not some:
        raise StoreError(f"`{config.songs}` holds no test songs. Render more songs.")
    order = np.random.default_rng((config.seed, 0)).permutation(len(some))
    return [some[index] for index in order[: config.size.num_songs]]


def collect(config: Config) -> list[Row]:
    """The rows of all chosen songs, stored song by song."""
    everything, path = corpus.songs_of(config.songs), config.folder / "clips.parquet"
    songs = chosen_songs(config, everything)
    tagger = lj.models.resolve(config.origin["model"])
    results.begin(config.folder, {**config.origin, "songs": corpus.fingerprint(everything)})
    rows = results.read_table(path) if path.exists() else []
    done = {row["clip"] for row in rows}
    pending = [song for song in songs if song.name not in done]
    for number, song in enumerate(pending, start=len(songs) - len(pending) + 1):
        try:
            found = judge_song(song, tagger, config.size.num_samples, config.seed)
        except AudioError as error:
            print(f"left out: {error}", flush=True)
            continue
        rows += [{**row, **config.origin} for row in found]
        results.write_table(path, rows)
        print(f"{number} of {len(songs)} songs", flush=True)
    names = {song.name for song in songs}
    return [row for row in rows if row["clip"] in names]


def curves_of(rows: Sequence[Row]) -> list[Row]:
    """The shares of clips whose top tag stays, beside the paper's."""
    curves = []
    for (setting, kind), paper in PAPER.items():
        for k, share in zip(KS, paper, strict=True):
            place = {"setting": setting, "kind": kind, "k": k}
            cell = where(rows, **place)
            lead = lead_of(where(rows, **{**place, "kind": AUDIOLIME}), cell)
            curves.append({**place, **summed_up(cell), "lead": lead, "paper_share": share})
    return curves


def summed_up(cell: Sequence[Row]) -> Row:
    """The mean over clips with its standard error; None without a clip."""
    values = np.array([row["unchanged"] for row in cell if not row["skipped"]])
    count = len(values)
    return {
        "share": float(values.mean()) if count else None,
        "standard_error": float(values.std() / math.sqrt(count)) if count else None,
        "num_clips": count,
        "num_skipped": len(cell) - count,
    }


def lead_of(first: Sequence[Row], second: Sequence[Row]) -> float | None:
    """How far the first lies above the second on the clips that neither skips."""
    shares = [
        {r["clip"]: r["unchanged"] for r in some if not r["skipped"]} for some in (first, second)
    ]
    both = shares[0].keys() & shares[1].keys()
    return math.fsum(shares[0][c] - shares[1][c] for c in both) / len(both) if both else None


def column(curves: Sequence[Row], setting: str, kind: str, name: str) -> list[Any]:
    """A number of a curve at every k."""
    return [curve[name] for curve in where(curves, setting=setting, kind=kind)]


def figures_of(curves: Sequence[Row]) -> list[results.Figure]:
    """A figure per curve; SLIME's and chance's say whether audioLIME lies above them."""
    return [figure_of(curves, setting, kind) for setting in SETTINGS for kind in KINDS]


def figure_of(curves: Sequence[Row], setting: str, kind: str) -> results.Figure:
    shares = column(curves, setting, kind, "share")
    skipped = listed(column(curves, setting, kind, "num_skipped"))
    leads = column(curves, setting, kind, "lead")
    is_asked = kind != AUDIOLIME
    told = f"; audioLIME's lead on the same clips: {printed(leads)}" if is_asked else ""
    tagger = f"{setting} (paper: {PAPER_TAGGERS[setting]})"
    return results.Figure(
        what=f"{tagger}, {kind}: share unchanged at k = {listed(KS)}",
        paper=printed(column(curves, setting, kind, "paper_share")),
        ours=f"{printed(shares)} (clips skipped: {skipped}){told}",
        condition=f"audioLIME above {kind} at every k" if is_asked else None,
        passed=is_ahead(leads) if is_asked else None,
    )


def is_ahead(leads: Sequence[float | None]) -> bool | None:
    """Whether it leads at every k; None if no clip shows it."""
    known = [lead for lead in leads if lead is not None]
    return all(lead > 0 for lead in known) if known else None


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def printed(shares: Sequence[float | None]) -> str:
    return " ".join("none" if share is None else f"{share:.2f}" for share in shares)


def picture(curves: Sequence[Row]) -> Any:
    """Our curves with standard errors, and the paper's dashed."""
    figure = style.figure(4.4)
    panels = figure.subplots(1, len(SETTINGS), sharey=True)
    for axes, setting in zip(panels, SETTINGS, strict=True):
        for kind in KINDS:
            draw_curve(axes, curves, setting, kind)
        count = max(column(curves, setting, AUDIOLIME, "num_clips"))
        title = f"{setting}, up to {count} clips (paper: {PAPER_TAGGERS[setting]})"
        axes.set_title(title, fontsize=style.TEXT, color=style.INK)
        axes.set_xticks(KS)
        axes.set_xlabel("components kept (k)")
        axes.set_ylim(-0.03, 1.05)
        style.dress(axes)
    panels[0].set_ylabel("share with unchanged top tag")
    draw_legend(figure, panels[0])
    return figure


def draw_curve(axes: Any, curves: Sequence[Row], setting: str, kind: str) -> None:
    colour, marker, shift = LOOKS[kind]
    numbers = lambda name: np.array(column(curves, setting, kind, name), float)
    places = np.array(KS) + shift
    line = {"color": colour, "marker": marker, "markersize": 6}
    spread = {"yerr": numbers("standard_error"), "elinewidth": 1.0, "capsize": 2.5}
    axes.errorbar(places, numbers("share"), **spread, **line, linewidth=2, label=kind)
    paper = {"linestyle": "--", "linewidth": 1, "markerfacecolor": "white"}
    axes.plot(places, numbers("paper_share"), **line, **paper, label=f"{kind}, paper")


def draw_legend(figure: Any, axes: Any) -> None:
    """A column per kind, below the panels."""
    handles, names = axes.get_legend_handles_labels()
    handle_of = dict(zip(names, handles, strict=True))
    names = [name for kind in KINDS for name in (kind, f"{kind}, paper")]
    options = {"loc": "outside lower center", "ncols": len(KINDS), "frameon": False}
    figure.legend([handle_of[name] for name in names], names, fontsize=style.SMALL, **options)


def summary_of(config: Config, rows: Sequence[Row], curves: Sequence[Row]) -> results.Summary:
    seconds = [row["seconds"] for row in rows if row["kind"] != RANDOM and row["k"] == KS[0]]
    caption = (
        "Share of clips whose top tag stays when the k best components are kept, with standard "
        "errors; the paper's dashed."
    )
    return results.Summary(
        title="Stems against bands: do the best components carry the decision?",
        paper="Haunschmid, Manilow, Widmer: audioLIME: Listenable Explanations Using Source "
        "Separation, MML 2020",
        claim="The best stem components of an explanation keep a tagger's top tag more often than "
        "the best frequency bands, and both more often than random components.",
        command=command_line.command(__file__, config),
        figures=figures_of(curves),
        differences=DIFFERENCES,
        pictures=[results.Picture("curves.png", caption)],
        minutes=math.fsum(seconds) / 60,
        config={**dataclasses.asdict(config), **config.origin},
    )


def run(config: Config) -> results.Summary:
    """Explains what is not explained yet, and writes tables, picture and summary."""
    rows = collect(config)
    curves = curves_of(rows)
    results.write_table(config.folder / "curves.parquet", curves)
    results.write_picture(config.folder / "curves.png", picture(curves))
    summary = summary_of(config, rows, curves)
    results.write(config.folder, summary)
    return summary


if __name__ == "__main__":
    sys.exit(command_line.main(run, Config))
