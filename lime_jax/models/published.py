"""Files that others published: used only if they are what was published."""

import hashlib
from pathlib import Path

from lime_jax.errors import ModelError


def check(path: Path, *, name: str, sha256: str, option: str) -> None:
    """Refuses a copy that is not the published file.

    Args:
      path: of the copy.
      name: of the published file.
      sha256: of its content, in hexadecimal.
      option: that named the copy, for the message.

    Raises:
      ModelError: if it cannot be read or is another file.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"`{path}` cannot be read ({error.strerror}). Point `{option}` at {name}."
        ) from error
    if digest != sha256:
        raise ModelError(
            f"`{path}` is not the published {name}: its sha256 is {digest} instead of {sha256}. "
            "Download it again, whole."
        )
