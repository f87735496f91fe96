"""The sound files of tracks and of explanations, made when they are asked for."""

import functools

from lime_jax.demo import explanations, sounds
from lime_jax.demo.application import Application, Sound
from lime_jax.demo.problems import Problem
from lime_jax.report.naming import slug

_NUM_KEPT = 64


class SoundFiles:
    """Bytes of sound files; the latest ones stay in memory, as players ask for them in pieces."""

    def __init__(self, application: Application) -> None:
        self._application = application
        # What sounds is known by its digest, so that forgotten songs cannot be heard from here.
        self._source = functools.lru_cache(_NUM_KEPT)(self._source_now)
        self._part = functools.lru_cache(_NUM_KEPT)(self._part_now)

    def of_track(self, library: str, track: str, name: str, suffix: str) -> tuple[bytes, str]:
        """The mix of a track or one of its sources, and what to call the file.

        Raises:
          Problem: 404 if there is no such track or source.
        """
        sound = self._application.sound(library, track)
        if name != "mix" and name not in sound.stems.names:
            raise Problem(404, "This track has no such sound.")
        return self._source(sound, name, suffix), f"{slug(sound.title)}-{slug(name)}.{suffix}"

    def of_explanation(self, key: str, name: str, suffix: str) -> tuple[bytes, str]:
        """A part of an explanation, and what to call the file.

        Raises:
          Problem: 404 if there is no such explanation or part.
        """
        body = self._application.found(key)
        sound = self._application.sound_by_digest(body["sound"])
        return self._part(sound, key, name, suffix), f"{slug(sound.title)}-{name}.{suffix}"

    def _source_now(self, sound: Sound, name: str, suffix: str) -> bytes:
        stems = sound.stems
        waveform = sound.mix if name == "mix" else stems.waveforms[stems.names.index(name)]
        gain = sounds.common_gain(stems.waveforms)
        return sounds.encode(gain * waveform, stems.sample_rate, suffix)

    def _part_now(self, sound: Sound, key: str, name: str, suffix: str) -> bytes:
        record = explanations.record_of(self._application.found(key))
        waveform = explanations.sound(sound.stems, record, name)
        gain = sounds.common_gain(sound.stems.waveforms)
        return sounds.encode(gain * waveform, sound.stems.sample_rate, suffix)
