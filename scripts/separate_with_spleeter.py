# /// script
# requires-python = ">=3.10,<3.12"
# dependencies = ["spleeter==2.4.2", "soundfile>=0.13", "soxr>=0.5"]
# ///
"""Separates a sound with the original Spleeter, in an environment of its own.

    uv run scripts/separate_with_spleeter.py song.wav stems/ --model 5stems

It pins TensorFlow 2.12 and cannot live beside a current jax, so lime-jax starts it as a program and
takes the stems from files, into its cache:

    lime-jax separate song.mp3 --separator-command \
        'uv run scripts/separate_with_spleeter.py {audio} {output_dir} --model 5stems'

The original goes on with random weights where a download failed. So nothing is believed here unless
a trained model is in its folder: its files, and the mark that the original leaves when a download
was whole.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

MODELS = ("2stems", "4stems", "5stems", "2stems-16kHz", "4stems-16kHz", "5stems-16kHz")
PROBE = ".probe"
SAMPLE_RATE = 44_100


def main() -> int:
    """Separates; returns 0, or 2 after one line about what is wrong."""
    options = parsed()
    folder = options.model_path.absolute() / options.model.removesuffix("-16kHz")
    existed = folder.exists()
    # Read by spleeter when it is imported.
    os.environ["MODEL_PATH"] = str(options.model_path.absolute())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if not existed:
            download(folder)
        if problem := untrained(folder):
            raise RuntimeError(problem)
        separate(options.audio, options.output_dir, options.model)
    except Exception as error:  # whatever TensorFlow, the network or the disk raise
        if not existed and untrained(folder):
            shutil.rmtree(folder, ignore_errors=True)
        reason = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"separate_with_spleeter: {reason}\n")
        return 2
    return 0


def parsed() -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", type=Path, help="WAV, FLAC, Ogg Vorbis or MP3")
    parser.add_argument("output_dir", type=Path, help="gets a WAV file (32-bit float) per stem")
    parser.add_argument("--model", choices=MODELS, default="5stems")
    parser.add_argument(
        "--model-path", type=Path, default=Path("pretrained_models"),
        help="folder of trained models; a model that is not there is downloaded",
    )  # fmt: skip
    return parser.parse_args()


def download(folder: Path) -> None:
    """Lets spleeter download the model, as it would do by itself."""
    from spleeter.model.provider import ModelProvider

    try:
        ModelProvider.default().get(str(folder))
    except Exception as error:
        raise RuntimeError(
            f"the model `{folder.name}` cannot be downloaded ({type(error).__name__}: {error}). "
            f"Unpack {folder.name}.tar.gz of spleeter's release v1.4.0 into `{folder}` and create "
            f"the file {PROBE} there."
        ) from error


def untrained(folder: Path) -> str:
    """Why there is no trained model in a folder; empty if there is one."""
    needed = [PROBE, "checkpoint", "model.index", "model.data-00000-of-00001"]
    missing = [name for name in needed if not (folder / name).is_file()]
    if not missing:
        return ""
    return (
        f"`{folder}` holds no trained model ({', '.join(missing)} missing), and spleeter would go "
        "on with random weights. Delete the folder to download the model again."
    )


def separate(audio: Path, output_dir: Path, model: str) -> None:
    """Writes a WAV file per instrument, at the rate of the original."""
    import soundfile
    import soxr
    from spleeter.separator import Separator

    waveform, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    waveform = soxr.resample(waveform, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else waveform
    stems = Separator(f"spleeter:{model}", multiprocess=False).separate(waveform)
    output_dir.mkdir(parents=True, exist_ok=True)
    for name, stem in stems.items():
        # One channel more than the sound has is spleeter's own doing.
        stem = stem if waveform.shape[1] > 1 else stem.mean(axis=1, keepdims=True)
        soundfile.write(output_dir / f"{name}.wav", stem, SAMPLE_RATE, "FLOAT")


if __name__ == "__main__":
    sys.exit(main())
