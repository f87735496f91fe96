"""The HTML of the page, the same for all listeners; its script asks for the rest."""

import functools
from pathlib import Path
from typing import Any

from lime_jax.lemons.application import DEFAULT_KIND, Application
from lime_jax.lemons.uploads import MAX_BYTES, SUFFIXES


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
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
