"""Networks to explain, and how to explain models that are not JAX."""

from lime_jax.models.base import Tagger as Tagger
from lime_jax.models.registry import ModelCard as ModelCard
from lime_jax.models.registry import available as available
from lime_jax.models.registry import card as card
from lime_jax.models.registry import fetch as fetch
from lime_jax.models.registry import is_fetched as is_fetched
from lime_jax.models.registry import load as load
from lime_jax.models.registry import names as names
from lime_jax.models.snippets import Snippets as Snippets
from lime_jax.models.user import names_of_outputs as names_of_outputs
from lime_jax.models.user import num_outputs as num_outputs
from lime_jax.models.user import output_names as output_names
from lime_jax.models.user import resolve as resolve
from lime_jax.models.user import wrap_errors as wrap_errors
