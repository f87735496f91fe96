"""HTML from templates, and what a page is allowed to run."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from lime_jax import storage
from lime_jax.report import wording

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).parent / "templates"


def template(name: str, folder: Path = _TEMPLATES) -> "jinja2.Template":
    """Returns a template that escapes what others wrote and refuses what nobody gave."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters["number"] = wording.number
    return environment.get_template(name)


def asset(name: str) -> str:
    """Returns a style or a script that becomes part of the page."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def policy(script: str, style: str) -> str:
    """Returns a content security policy for this script, this style, and no connection."""
    return (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; "
        "img-src data:; media-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = bytes.fromhex(storage.digest(text))
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
