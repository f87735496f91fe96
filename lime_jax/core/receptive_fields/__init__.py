"""Models that see little of their input at a time, explained from what they see."""

from lime_jax.core.receptive_fields.check import check_receptive_field as check_receptive_field
from lime_jax.core.receptive_fields.declaration import Declaration as Declaration
from lime_jax.core.receptive_fields.declaration import declaration as declaration
from lime_jax.core.receptive_fields.layers import Layerwise as Layerwise
from lime_jax.core.receptive_fields.layers import layer as layer
from lime_jax.core.receptive_fields.layers import layerwise as layerwise
from lime_jax.core.receptive_fields.windows import Windowed as Windowed
from lime_jax.core.receptive_fields.windows import windowed as windowed
