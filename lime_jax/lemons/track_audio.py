"""What is heard of a track: its mix, its stems, and how loud they play."""

import dataclasses

from lime_jax.audio.waveform import Waveform
from lime_jax.lemons import audio_responses
from lime_jax.lemons.uploads import Upload
from lime_jax.separation.base import Stems

_HEADROOM = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class TrackAudio:
    """The audio of a track of a library, or of one that a user sent.

    Attributes:
      digest: of what is heard.
      sources: names of the stems; none of an upload that is not separated yet.
      owner: the id of an upload; None for a track of a library.
      title: to show.
      whole: what the recommender hears: the upload as it was sent, or the stems of a track.
      stems: the sources, which add up to the whole; or that alone.
    """

    digest: str
    sources: tuple[str, ...]
    owner: str | None
    title: str
    whole: Stems
    stems: Stems

    @classmethod
    def from_upload(cls, upload: Upload) -> "TrackAudio":
        """Returns the audio of an upload, with its stems if it is separated."""
        stems, sources = (upload.stems, upload.stems.names) if upload.stems else (upload.mix, ())
        return cls(upload.digest, sources, upload.id, upload.title, upload.mix, stems)

    @property
    def is_own(self) -> bool:
        """Says whether a user sent it."""
        return self.owner is not None

    @property
    def mix(self) -> Waveform:
        """Returns what the recommender hears, `(num_samples,)`."""
        return self.whole.waveforms.sum(axis=0)

    @property
    def gain(self) -> float:
        """Returns the factor of all sounds of this track: none clips, all are equally loud.

        An upload leaves its stems some room, and so keeps its level when it is separated, unless
        they need even more.
        """
        room = _HEADROOM if self.is_own else 1
        gain = audio_responses.common_gain(self.whole.waveforms / room)
        return min(gain, audio_responses.common_gain(self.stems.waveforms))

    def stems_for(self, kind: str) -> Stems:
        """Returns what an explanation of a kind is about; times need no sources."""
        return self.whole if kind == "time" else self.stems
