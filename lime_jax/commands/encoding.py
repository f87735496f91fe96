"""Output that every terminal, pipe and file takes, whatever characters their encoding has."""

import codecs
import io
import sys
import unicodedata

_ERRORS = "lime-jax"
_ALTERNATIVES = {
    "–": "-", "—": "-", "−": "-", "±": "+-", "×": "x", "·": "*", "…": "...", "≥": ">=", "≤": "<=",
    "≈": "~", "→": "->", "“": '"', "”": '"', "‘": "'", "’": "'", "•": "*", "√": "sqrt ",
}  # fmt: skip


def write_anything() -> None:
    """Lets standard output and errors replace what they cannot encode, instead of raising.

    Windows redirects to files in its old code page, and servers often have no language set.
    """
    codecs.register_error(_ERRORS, _replace)
    for stream in (sys.stdout, sys.stderr):
        # Notebooks and tests put streams of their own in place, which take everything.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def in_ascii(text: str) -> str:
    """Returns what comes nearest to a text in ASCII.

    Example:
      >>> in_ascii("0.5 ± 0.1, R² – naïve …")
      '0.5 +- 0.1, R2 - naive ...'
    """
    return "".join(_ALTERNATIVES.get(c) or _letters(c) or "?" for c in text)


def _letters(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", character)
    return decomposed.encode("ascii", "ignore").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return in_ascii(error.object[error.start : error.end]), error.end
