"""The engine: components, neighbourhoods, statistics, surrogates. Needs only jax and numpy."""
