"""Stems on disk: a track is separated once, whoever asks for its stems how often.

An entry is a folder with a WAV file (32-bit float) per stem and `stems.json`, which lists them. It
is called by the content of the sound file, the excerpt, the separator and its version, and is there
whole or not at all. Players open the files, and `lime-jax explain --stems` takes the folder.
"""

import contextlib
import dataclasses
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lime_jax.audio import decode
from lime_jax.errors import AudioError, LimeJaxError
from lime_jax.models import cache
from lime_jax.separation.base import Channels, Separator, StemStream, stream_stems
from lime_jax.storage import digest_of_file, digest_of_json

FORMAT = "lime-jax stems"
SCHEMA_VERSION = 1
LISTING = "stems.json"
COLLECTION = "stems"

MAX_CHANNELS = 2

# Separators fill the device, so there is no use in several at a time.
_ONE_AT_A_TIME = threading.Lock()
_NOT_IN_NAMES = frozenset('/\\:*?"<>|')


@dataclasses.dataclass(frozen=True)
class StoredStems:
    """The stems of a track on disk.

    Attributes:
      files: by the name of the stem, in the order of the separator; WAV, 32-bit float.
      listing: what `stems.json` says.
    """

    files: Mapping[str, Path]
    listing: Mapping[str, Any]

    @property
    def sample_rate(self) -> int:
        """In Hz, as of the sound file."""
        return self.listing["sample_rate"]

    @property
    def stems(self) -> dict[str, tuple[Path, ...]]:
        """The files as `lime_jax.audio.io.load_stems` takes them."""
        return {name: (path,) for name, path in self.files.items()}

    def with_stem(self, name: str, path: Path) -> "StoredStems":
        """Returns these with a further stem; another of that name is replaced."""
        stem = {"name": name, "file": path.name, "sha256": digest_of_file(path)}
        stems = [*(other for other in self.listing["stems"] if other["name"] != name), stem]
        listing = {
            **self.listing,
            "stems": stems,
            "files": [LISTING, *(other["file"] for other in stems)],
        }
        files = {other: file for other, file in self.files.items() if other != name}
        return StoredStems({**files, name: path}, listing)

    def dumps(self) -> bytes:
        """Returns the listing as it is stored."""
        # Undecodable bytes of file names arrive as lone surrogates, which UTF-8 does not know.
        text = json.dumps(self.listing, ensure_ascii=False, indent=1) + "\n"
        return text.encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def cached_stems(
    path: Path,
    separator: Separator,
    *,
    start: float = 0.0,
    duration: float | None = None,
    keep: bool = True,
    cache_folder: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> Iterator[StoredStems]:
    """Yields the stems of an audio file, from the cache or else separated now.

    Args:
      path: see `lime_jax.audio.io.load`; one or two channels.
      separator: see `Separator`.
      start: of the excerpt that is separated, in seconds.
      duration: of the excerpt, in seconds; None to the end.
      keep: False forgets stems that are separated now at the end of the `with` block.
      cache_folder: None takes `lime_jax.models.cache.cache_folder()`.
      report: called with a sentence before a separation.

    Raises:
      LimeJaxError: if the file cannot be read or separated, or the cache not be written.
    """
    key, content = _key(path, separator, start, duration)
    folder = (cache_folder or cache.cache_folder()) / COLLECTION / key
    if not is_whole(folder):
        if not keep:
            with tempfile.TemporaryDirectory() as scratch:
                with _ONE_AT_A_TIME:
                    _separate(path, content, separator, start, duration, Path(scratch), report)
                yield _known(Path(scratch))
            return
        with _ONE_AT_A_TIME:
            # By now another thread may have made it.
            if not is_whole(folder):
                with cache.new_folder(folder, is_whole) as new:
                    _separate(path, content, separator, start, duration, new, report)
    yield _known(folder)


def is_whole(folder: Path) -> bool:
    """Returns whether a folder holds, unharmed, all stems that it lists."""
    try:
        stems = _listing(folder)["stems"]
        return all(digest_of_file(folder / stem["file"]) == stem["sha256"] for stem in stems)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def listed_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Returns the files of every stem that a folder lists, by name, in the separator's order.

    Raises:
      AudioError: if the listing is none of ours.
    """
    try:
        return {stem["name"]: (folder / stem["file"],) for stem in _listing(folder)["stems"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AudioError(
            f"`{folder / LISTING}` lists no stems ({error}). Delete it to take all audio files in "
            "the folder."
        ) from error


def _known(folder: Path) -> StoredStems:
    files = {name: paths[0] for name, paths in listed_files(folder).items()}
    return StoredStems(files, _listing(folder))


def _listing(folder: Path) -> dict[str, Any]:
    listing = json.loads((folder / LISTING).read_text(encoding="utf-8"))
    if listing["format"] != FORMAT or listing["schema_version"] != SCHEMA_VERSION:
        raise ValueError("another format")
    return listing


def _key(path: Path, separator: Separator, start: float, duration: float | None) -> tuple[str, str]:
    """What an entry is called, and the digest of the audio file."""
    decode.check_excerpt(start, duration)
    # `open_audio` has the words for files that are missing, empty or not regular.
    with decode.open_audio(path):
        content = digest_of_file(path)
    excerpt = [float(start), None if duration is None else float(duration)]
    parts = [SCHEMA_VERSION, content, *excerpt, separator.name, separator.version]
    return digest_of_json(parts), content


def _separate(
    path: Path,
    content: str,
    separator: Separator,
    start: float,
    duration: float | None,
    folder: Path,
    report: Callable[[str], None] | None,
) -> None:
    with decode.open_audio(path, MAX_CHANNELS) as source:
        rate = source.sound.samplerate
        seconds = decode.num_frames(source, start, duration) / rate
        if report is not None:
            report(f"separating {seconds:.3g} s of {path.name} with {separator.name}")
        blocks = _audible(path, decode.channel_blocks(source, start, duration))
        stream = _stream(separator, blocks, rate)
        num_samples = write_stems(folder, stream, rate)
        if digest_of_file(path) != content:
            raise AudioError(f"`{path}` was changed while it was separated. Separate it again.")
        listing = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "separator": separator.name,
            "separator_version": separator.version,
            "source": {"name": path.name, "sha256": content},
            "start": start,
            "duration": duration,
            "sample_rate": rate,
            "num_samples": num_samples,
            "stems": [
                {
                    "name": name,
                    "file": _file(name),
                    "sha256": digest_of_file(folder / _file(name)),
                }
                for name in stream.names
            ],
            "files": [LISTING, *map(_file, stream.names)],
        }
    (folder / LISTING).write_bytes(StoredStems({}, listing).dumps())


def _stream(separator: Separator, blocks: Iterator[Channels], sample_rate: int) -> StemStream:
    """Streams stems; what the system refuses a separator is no fault of the cache."""

    def attempt(step: Callable[[], Any]) -> Any:
        try:
            return step()
        except OSError as error:
            raise LimeJaxError(f"`{separator.name}` failed: {error}") from error

    def each() -> Iterator[Any]:
        while (block := attempt(lambda: next(stream.blocks, None))) is not None:
            yield block

    stream = attempt(lambda: stream_stems(separator, blocks, sample_rate))
    return StemStream(stream.names, each())


def _audible(path: Path, blocks: Iterator[Any]) -> Iterator[Channels]:
    """Puts the channels of blocks first; silence throughout is an error."""
    is_silent = True
    for block in blocks:
        is_silent = is_silent and not block.any()
        yield block.T
    if is_silent:
        raise AudioError(
            f"`{path}` is silent there, so there is nothing to separate. Choose another excerpt."
        )


def write_stems(folder: Path, stream: StemStream, sample_rate: int) -> int:
    """Writes a WAV file per stem while they come; returns their length in samples.

    Raises:
      ValueError: for names that are no names of files.
      AudioError: if the stems are silent or not finite.
    """
    import soundfile

    _check_names(stream.names)
    num_samples, loudest, writers = 0, 0.0, []
    with contextlib.ExitStack() as stack:
        for block in stream.blocks:
            peak = float(np.abs(block).max(initial=0.0))
            if not np.isfinite(peak):
                raise AudioError("the separator made NaN or infinite samples. Check its weights.")
            num_samples, loudest = num_samples + block.shape[-1], max(loudest, peak)
            try:
                if not writers:
                    paths = [folder / _file(name) for name in stream.names]
                    made = (stem_writer(path, sample_rate, block.shape[1]) for path in paths)
                    writers = [stack.enter_context(writer) for writer in made]
                for writer, channels in zip(writers, block, strict=True):
                    writer.write(channels.T)
            except soundfile.LibsndfileError as error:  # a full disk, a name that is too long
                raise OSError(_reason(error)) from error
    if loudest == 0.0:
        raise AudioError("the separator returned nothing but silence. Check it and the sound.")
    return num_samples


def _reason(error: Any) -> str:
    return f"stems cannot be written: {error.error_string.strip().rstrip('.')}"


def stem_writer(path: Path, sample_rate: int, num_channels: int) -> Any:
    """Opens a WAV file of 32-bit floats, which keep their level."""
    import soundfile

    return soundfile.SoundFile(path, "w", sample_rate, num_channels, "FLOAT", format="WAV")


def _file(name: str) -> str:
    return f"{name}.wav"


def _check_names(names: tuple[str, ...]) -> None:
    folded = [name.casefold() for name in names]  # some disks do not tell case
    for name in names:
        is_fine = name.isprintable() and not set(name) & _NOT_IN_NAMES and name[:1] not in ("", ".")
        if not is_fine or folded.count(name.casefold()) > 1 or name.lower() in ("mix", "mixture"):
            raise ValueError(
                "stems must have different names that files can have, other than mix and mixture, "
                f"got {', '.join(map(repr, names))}."
            )
