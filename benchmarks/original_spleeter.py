# /// script
# requires-python = ">=3.10,<3.12"
# dependencies = ["spleeter==2.4.2", "soundfile>=0.13"]
# ///
"""The original Spleeter, timed: an untrained model costs what the published one does.

Started by `benchmarks.separation` in an environment of its own; prints JSON.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Before spleeter is imported, which reads it.
os.environ["MODEL_PATH"] = models = tempfile.mkdtemp()

import soundfile
import tensorflow as tf
from spleeter.model import EstimatorSpecBuilder, InputProviderFactory
from spleeter.separator import Separator
from spleeter.utils.configuration import load_configuration

NAME = "5stems"


def untrained() -> None:
    """Saves a checkpoint of initial weights where spleeter looks for the published ones."""
    folder = Path(models) / NAME
    folder.mkdir()
    parameters = load_configuration(f"spleeter:{NAME}")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        features = InputProviderFactory.get(parameters).get_input_dict_placeholders()
        assert EstimatorSpecBuilder(features, parameters).outputs
        tf.compat.v1.train.get_or_create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "model"))
    (folder / ".probe").write_text("OK", encoding="utf-8")


def separated(separator: Separator, audio: str, folder: str) -> float:
    """Returns seconds from file to files."""
    start = time.perf_counter()
    waveform, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    for name, stem in separator.separate(waveform).items():
        soundfile.write(f"{folder}/{name}.wav", stem, rate, "FLOAT")
    return time.perf_counter() - start


if __name__ == "__main__":
    warm_up, audio = sys.argv[1:]
    untrained()
    separator = Separator(f"spleeter:{NAME}", multiprocess=False)
    with tempfile.TemporaryDirectory() as folder:
        first = separated(separator, warm_up, folder)
        seconds = separated(separator, audio, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first_s": first, "seconds": seconds, "host_mib": peak}))
