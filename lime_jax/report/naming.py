"""File names from names that others chose."""

import re
import unicodedata

_LENGTH = 40


def slug(name: str) -> str:
    """Lower-case letters, digits and hyphens, never empty: safe as a part of any file name.

    Example:
      >>> slug("../Électric Guitar")
      'electric-guitar'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LENGTH].rstrip("-") or "output"
