"""The functions of librosa that ours are compared with, in a few lines of float64 NumPy each.

Importing librosa compiles for up to twenty seconds; a slow test proves that these are the same.
"""

import numpy as np


def stft(waveform, *, n_fft, hop_length, pad_mode="constant", center=True):
    signal = np.asarray(waveform, np.float64)
    if center:
        signal = np.pad(signal, n_fft // 2, mode=pad_mode)
    starts = range(0, len(signal) - n_fft + 1, hop_length)
    frames = np.stack([signal[start : start + n_fft] * hann(n_fft) for start in starts])
    return np.fft.rfft(frames).T


def istft(spectrogram, *, n_fft, hop_length, length):
    size = n_fft + hop_length * (spectrogram.shape[1] - 1)
    signal, energy = np.zeros(size), np.zeros(size)
    for number, frame in enumerate(np.fft.irfft(spectrogram.T, n=n_fft)):
        reached = slice(number * hop_length, number * hop_length + n_fft)
        signal[reached] += hann(n_fft) * frame
        energy[reached] += hann(n_fft) ** 2
    signal = signal[n_fft // 2 :] / np.where(energy > 1e-38, energy, 1.0)[n_fft // 2 :]
    return np.pad(signal, (0, max(0, length - len(signal))))[:length]


def mel(*, sr, n_fft, n_mels, fmin=0.0, fmax=None, htk=False, norm="slaney"):
    fmax = sr / 2 if fmax is None else fmax
    mels = np.linspace(hz_to_mel(fmin, htk=htk), hz_to_mel(fmax, htk=htk), n_mels + 2)
    hertz = np.linspace(0.0, fmax, 200_001)
    # The scale is monotone: its inverse by a search, then by Newton's steps of a secant.
    edges = np.interp(mels, hz_to_mel(hertz, htk=htk), hertz)
    for _ in range(3):
        slope = (hz_to_mel(edges + 1e-3, htk=htk) - hz_to_mel(edges, htk=htk)) / 1e-3
        edges = edges + (mels - hz_to_mel(edges, htk=htk)) / slope
    bins = np.fft.rfftfreq(n_fft, 1 / sr)
    bank = np.stack([np.interp(bins, edges[i : i + 3], [0, 1, 0]) for i in range(n_mels)])
    return bank * (2 / (edges[2:] - edges[:-2]))[:, None] if norm == "slaney" else bank


def melspectrogram(*, y, n_fft, hop_length, power, pad_mode, **bank):
    spectrogram = stft(y, n_fft=n_fft, hop_length=hop_length, pad_mode=pad_mode)
    return mel(n_fft=n_fft, **bank) @ np.abs(spectrogram) ** power


def power_to_db(power, *, top_db):
    levels = 10 * np.log10(np.maximum(power, 1e-10))
    return levels if top_db is None else np.maximum(levels, levels.max() - top_db)


def hz_to_mel(frequencies, *, htk=False):
    hertz = np.asarray(frequencies, np.float64)
    if htk:
        return 2595 * np.log10(1 + hertz / 700)
    logarithmic = 15 + 27 * np.log(np.maximum(hertz, 1.0) / 1000) / np.log(6.4)
    return np.where(hertz < 1000, hertz * 3 / 200, logarithmic)


def hann(n_fft):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
