"""The recommender whose recommendations are explained by what one can listen to."""

from pathlib import Path

HOME = Path(__file__).parents[1] / "data" / "lemons"
"""The library that comes with the package: tracks, listeners, their recommenders."""
