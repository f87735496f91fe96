"""Mixtures to stems: separators, stems that are there already, and a cache of stems on disk."""

import importlib
from typing import Any

from lime_jax.separation.base import Separator as Separator
from lime_jax.separation.base import Stems as Stems
from lime_jax.separation.base import StemStream as StemStream
from lime_jax.separation.base import stream_stems as stream_stems
from lime_jax.separation.base import with_residual as with_residual
from lime_jax.separation.command import Command as Command
from lime_jax.separation.precomputed import Precomputed as Precomputed
from lime_jax.separation.precomputed import stem_files as stem_files
from lime_jax.separation.registry import SeparatorCard as SeparatorCard
from lime_jax.separation.registry import available as available
from lime_jax.separation.registry import card as card
from lime_jax.separation.registry import fetch as fetch
from lime_jax.separation.registry import is_fetched as is_fetched
from lime_jax.separation.registry import load as load
from lime_jax.separation.registry import names as names
from lime_jax.separation.stem_cache import StoredStems as StoredStems
from lime_jax.separation.stem_cache import cached_stems as cached_stems


def __getattr__(name: str) -> Any:
    if name == "Spleeter":  # needs flax
        return importlib.import_module("lime_jax.separation.spleeter").Spleeter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
