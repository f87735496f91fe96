"""The HTML of the page, the same for all listeners; its script asks for the rest."""

import functools
from pathlib import Path
from typing import Any

from lime_jax.lemons.application import DEFAULT_KIND, Application
from lime_jax.lemons.uploads import MAX_BYTES, SUFFIXES
from lime_jax.report import html


def render(application: Application) -> str:
    """Returns the page as HTML; what others wrote is escaped."""
    return _template().render(
        personas=list(application.audience.personas.values()),
        kind=DEFAULT_KIND,
        default=application.default_persona,
        libraries=application.tracks.libraries,
        suffixes=",".join(f".{suffix}" for suffix in SUFFIXES),
        max_megabytes=MAX_BYTES // 2**20,
        can_separate=application.separator is not None,
    )


@functools.cache
def _template() -> Any:
    return html.template("page.html.jinja", Path(__file__).parent / "templates")
