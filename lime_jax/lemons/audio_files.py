"""The sound files of tracks and of explanations, encoded when they are asked for."""

import functools

from lime_jax.lemons import audio_responses, explanation_body
from lime_jax.lemons.application import Application
from lime_jax.lemons.http_error import HttpError
from lime_jax.lemons.track_audio import TrackAudio
from lime_jax.storage import slug


class SoundFiles:
    """Encodes sound files; the latest ones stay in memory, as players ask for them in ranges."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def of_track(self, library: str, track: str, name: str, suffix: str) -> tuple[bytes, str]:
        """Returns the mix of a track or one of its sources, and what to call the file.

        Raises:
          HttpError: 404 if there is no such track or source.
        """
        audio = self._application.tracks.audio(library, track)
        if name != "mix" and name not in audio.stems.names:
            raise HttpError(404, "This track has no such sound.")
        # Names of sources never mean another sound: an upload is separated once.
        key = (audio.digest, audio.owner, audio.gain, name, suffix)
        make = functools.partial(_encode_source, audio, name, suffix)
        file = self._application.files.get(key, make, audio.owner)
        return file, f"{slug(audio.title)}-{slug(name)}.{suffix}"

    def of_explanation(self, key: str, name: str, suffix: str) -> tuple[bytes, str]:
        """Returns the sound of some components of an explanation, and what to call the file.

        Raises:
          HttpError: 404 if there is no such explanation or sound.
        """
        body = self._application.explanations.body(key)
        audio = self._application.tracks.audio_of(body)
        record = explanation_body.record_of(body)

        def make() -> bytes:
            stems = audio.stems_for(record.kind)
            waveform = explanation_body.waveform(stems, record, name)
            return audio_responses.encode(audio.gain * waveform, stems.sample_rate, suffix)

        file = self._application.files.get((key, audio.gain, name, suffix), make, audio.owner)
        return file, f"{slug(audio.title)}-{name}.{suffix}"


def _encode_source(audio: TrackAudio, name: str, suffix: str) -> bytes:
    stems = audio.stems
    waveform = audio.mix if name == "mix" else stems.waveforms[stems.names.index(name)]
    return audio_responses.encode(audio.gain * waveform, stems.sample_rate, suffix)
