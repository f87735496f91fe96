"""Waveforms as sound files in memory, served in ranges so that players can seek."""

import io
import re
import wave
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from starlette.responses import Response

from lime_jax import storage
from lime_jax.audio import io as audio_io
from lime_jax.audio.waveform import Waveform

TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}

_FULL_SCALE = 2**15
# Private: tracks of users are among them. What a URL names never changes while a page is open.
_CACHING = "private, max-age=600"


def common_gain(sources: Float[np.ndarray, "num_sources num_samples"]) -> float:
    """Returns at most 1, and so little that no selection of the sources clips."""
    loudest = float(np.abs(sources).sum(axis=0).max(initial=0.0))
    return 1.0 / max(1.0, loudest)


def encode(waveform: Waveform, sample_rate: int, suffix: str) -> bytes:
    """Returns the bytes of a sound file: 16-bit WAV, or MP3.

    Args:
      waveform: `(num_samples,)`; what lies outside [-1, 1] is clipped.
      sample_rate: in Hz.
      suffix: one of `TYPES`.
    """
    if suffix == "mp3":
        return audio_io.encode(waveform, sample_rate, "mp3")
    samples = np.clip(np.round(waveform * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def respond(body: bytes, request: Mapping[str, str], suffix: str, filename: str) -> Response:
    """Returns the response to a request for a file or a range of it.

    Args:
      body: the whole file.
      request: its headers.
      suffix: one of `TYPES`.
      filename: what the file is called when it is saved; letters, digits, hyphens, dots.
    """
    tag = f'"{storage.digest(body)[:32]}"'
    headers = {
        "accept-ranges": "bytes",
        "cache-control": _CACHING,
        "content-disposition": f'inline; filename="{filename}"',
        "etag": tag,
    }
    if tag in request.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    span = _span(request.get("range", ""), len(body))
    if span is None or request.get("if-range", tag) != tag:
        return Response(body, headers=headers, media_type=TYPES[suffix])
    first, end = span
    if first >= end:
        return Response(status_code=416, headers={"content-range": f"bytes */{len(body)}"})
    headers["content-range"] = f"bytes {first}-{end - 1}/{len(body)}"
    return Response(body[first:end], 206, headers=headers, media_type=TYPES[suffix])


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """Returns first byte and end of a single range; None for all else, which gets the whole."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", wanted.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size if int(last) else 0
    end = min(size, int(last) + 1) if last else size
    # An end before the start is no range at all, a start behind the file one of no bytes.
    return None if last and int(last) < int(first) else (int(first), end)
