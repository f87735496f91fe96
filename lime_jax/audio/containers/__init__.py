"""How sound files are built: how much they promise and hold, and what a decoder is to be shown."""

from lime_jax.audio.containers.inspection import inspect as inspect
from lime_jax.audio.containers.layout import Layout as Layout
from lime_jax.audio.containers.layout import holds_another as holds_another
from lime_jax.audio.containers.parts import open_parts as open_parts
