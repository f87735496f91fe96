"""The sound files of tracks and of explanations, made when they are asked for."""

from lime_jax.lemons import audio_responses, explanation_body
from lime_jax.lemons.application import Application, Sound
from lime_jax.lemons.http_error import Problem
from lime_jax.report.naming import slug


class SoundFiles:
    """Bytes of sound files; the latest ones stay in memory, as players ask for them in pieces."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def of_track(self, library: str, track: str, name: str, suffix: str) -> tuple[bytes, str]:
        """The mix of a track or one of its sources, and what to call the file.

        Raises:
          Problem: 404 if there is no such track or source.
        """
        sound = self._application.sound(library, track)
        if name != "mix" and name not in sound.stems.names:
            raise Problem(404, "This track has no such sound.")
        # Names of sources never mean another sound: a song is taken apart once.
        key = (sound.digest, sound.owner, sound.gain, name, suffix)
        make = lambda: _source(sound, name, suffix)
        body = self._application.files.get(key, make, sound.owner)
        return body, f"{slug(sound.title)}-{slug(name)}.{suffix}"

    def of_explanation(self, key: str, name: str, suffix: str) -> tuple[bytes, str]:
        """A part of an explanation, and what to call the file.

        Raises:
          Problem: 404 if there is no such explanation or part.
        """
        body = self._application.found(key)
        sound = self._application.sound_of(body)
        record = explanation_body.record_of(body)

        def make() -> bytes:
            stems = sound.explained(record.kind)
            waveform = explanation_body.sound(stems, record, name)
            return audio_responses.encode(sound.gain * waveform, stems.sample_rate, suffix)

        file = self._application.files.get((key, sound.gain, name, suffix), make, sound.owner)
        return file, f"{slug(sound.title)}-{name}.{suffix}"


def _source(sound: Sound, name: str, suffix: str) -> bytes:
    stems = sound.stems
    waveform = sound.mix if name == "mix" else stems.waveforms[stems.names.index(name)]
    return audio_responses.encode(sound.gain * waveform, stems.sample_rate, suffix)
