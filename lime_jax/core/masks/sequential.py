"""As many masks as an answer needs: how `num_samples="auto"` chooses."""

import math
from typing import Any, SupportsIndex

import numpy as np

from lime_jax.core.arguments import listed, positive, real_number, share, whole_number
from lime_jax.core.masks import nearest, orthogonal_array
from lime_jax.core.masks.bernoulli import BernoulliBlocks
from lime_jax.core.masks.exhaustive import Exhaustive
from lime_jax.core.masks.neighbourhood import (
    NUM_BLOCKS,
    MaybeKey,
    Neighbourhood,
    Sampler,
    check_num_samples,
    size_of,
)
from lime_jax.core.masks.stopping import StoppingRule, Targets
from lime_jax.core.pytree import pytree, static
from lime_jax.core.ranking import check_sign

# Up to here all masks cost no more than the arrays whose errors could be estimated.
_FEW_MASKS = 2048
# A head per mask instead of a network: more of them are still few.
_FEW_LOOKED_UP = 2**14
_ARRAYS_PER_ROUND = 4
_MASKS_PER_BLOCK = 128
_NUM_SLOTS = 32
# Of the weight of all masks with one component off: coefficients keep five digits.
_NEGLIGIBLE = 1e-5
_MOST_NARROW = 100  # components; counts of 2**-num_components must be float32 numbers


@pytree
class Auto:
    """As many masks as an answer needs; make one with `auto`.

    All masks while they are few, orthogonal arrays beyond, fair coins where arrays are too long.
    Where the kernel is so narrow that masks with more than a few components off weigh nothing, as
    in SLIME, those near by are all. Stands in place of a sampler until the number of components is
    known: `resolve` makes it one, with a rule for when to stop. Called, it draws one round.

    Attributes:
      targets: where rounds may end.
      equivalent_num_samples: the ridge is as strong as `lime` has it at this many samples.
      max_evaluations: where rounds end in any case.
    """

    targets: Targets
    equivalent_num_samples: int = static(default=1000)
    max_evaluations: int = static(default=70_000)

    def __call__(self, key: MaybeKey, num_components: int) -> Neighbourhood:
        return self._round_of(num_components)[0](key, num_components)

    @property
    def limit(self) -> Exhaustive:
        """All masks, which every way of choosing comes close to."""
        return Exhaustive(self.equivalent_num_samples)

    def resolve(
        self,
        num_components: int,
        weights: np.ndarray | None,
        *,
        with_lookup: bool = False,
        num_groups: int = 1,
    ) -> tuple[Sampler, StoppingRule | None]:
        """Chooses a sampler; and when to stop, unless its masks are all that count.

        Args:
          num_components: of the input.
          weights: of the kernel by the number of zeros; None if it is not known yet.
          with_lookup: whether a mask costs a head only.
          num_groups: the outputs come in so many groups of one size, and the first one's count.
        """
        few = min(_FEW_LOOKED_UP if with_lookup else _FEW_MASKS, self.max_evaluations)
        off = num_components if weights is None else _most_off(weights)
        sampler, num_slots = self._round_of(num_components)
        num_masks = size_of(sampler, num_components).num_masks
        # Arrays and coins would hardly ever draw what a narrow kernel sees.
        if off < num_components and nearest.num_nearest(num_components, off) <= max(few, num_masks):
            return nearest.Nearest(off, self.equivalent_num_samples), None
        if 2**num_components <= few:
            return self.limit, None
        most_rounds = 1 if self.targets.are_none else max(1, self.max_evaluations // num_masks)
        rule = StoppingRule(
            self.targets, self.equivalent_num_samples, most_rounds, num_slots, num_groups
        )
        return sampler, rule

    def _round_of(self, num_components: int) -> tuple[Sampler, int]:
        """Returns what draws a round, and how many independent parts errors are estimated from."""
        if num_components <= orthogonal_array.MOST_COMPONENTS:
            size = orthogonal_array.array_size(num_components)
            # It takes three arrays to tell an error.
            if 3 * size < self.max_evaluations:
                arrays = min(_ARRAYS_PER_ROUND, (self.max_evaluations - 1) // size)
                return orthogonal_array.OrthogonalArray(arrays * size), _NUM_SLOTS
        num_blocks = NUM_BLOCKS
        per_block = min(_MASKS_PER_BLOCK, (self.max_evaluations - 1) // num_blocks)
        return BernoulliBlocks(per_block * num_blocks), num_blocks


def auto(
    *,
    std_error: Any = None,
    top_k: SupportsIndex | None = None,
    confidence: Any = 0.95,
    sign: str = "positive",
    outputs: Any = None,
    equivalent_num_samples: SupportsIndex = 1000,
    max_evaluations: SupportsIndex = 70_000,
) -> Auto:
    """As many masks as it takes: `lime(lj.auto(std_error=0.01))`; `lime("auto")` has no target.

    Exact where the model declares its receptive field as a sum, all masks where they are few,
    otherwise orthogonal arrays, in rounds of four until the targets are met. The answer is an
    estimate of one centre, whatever way it takes: the limit that LIME with `equivalent_num_samples`
    scatters around.

    Args:
      std_error: stop when no coefficient has a larger standard error, in units of the output. It
        is widened by Student's distribution while rounds are few: an interval of plus and minus
        twice this number then holds a coefficient in 95 % of all runs.
      top_k: stop when the set of the strongest components is right with `confidence`, although it
        is looked at after every round: after each, `top_k_confidence` may leave but a share of the
        doubt that is allowed, and the shares of all rounds add up to one.
      confidence: between 0 and 1.
      sign: positive, negative or absolute: what strong means for `top_k`.
      outputs: the outputs that must meet the targets: indices, or a number N for the N highest
        predictions; None means all.
      equivalent_num_samples: the ridge is as strong as `lime` has it at this many samples.
      max_evaluations: a ceiling; what was reached by then is returned with its errors.

    Raises:
      ValueError: if a number is impossible.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.eye(14))
      >>> model = lambda x: jax.nn.sigmoid(x.sum(axis=1, keepdims=True) - x[:, :1] * x[:, 1:2])
      >>> method = lj.lime(lj.auto(std_error=0.01))
      >>> explanation = lj.explain(model, stems, method, key=jax.random.key(0))
      >>> bool(explanation.std_error.max() < 0.01), int(explanation.num_evaluations)
      (True, 2049)
    """
    if std_error is not None:
        std_error = real_number("std_error", std_error, "be positive and finite", positive)
    top_k = None if top_k is None else whole_number("top_k", top_k)
    max_evaluations = whole_number("max_evaluations", max_evaluations, 128)
    hint = "Usual is 0.95."
    confidence = real_number("confidence", confidence, "lie between 0 and 1", share, hint)
    check_sign(sign)
    equivalent_num_samples = check_num_samples(equivalent_num_samples)
    targets = Targets(std_error, confidence, top_k, sign, _checked_outputs(outputs))
    return Auto(targets, equivalent_num_samples, max_evaluations)


def _checked_outputs(outputs: Any) -> tuple[int, ...] | int | None:
    if outputs is None:
        return None
    if not hasattr(outputs, "__len__") or getattr(outputs, "ndim", 1) == 0:
        return whole_number("outputs", outputs, hint="Or pass indices in a list.")
    outputs = listed("outputs", outputs, "indices")
    if not outputs:
        raise ValueError("`outputs` is empty. Pass indices of outputs, or a number of them.")
    return tuple(whole_number("outputs", index, 0) for index in outputs)


def _most_off(weights: np.ndarray) -> int:
    """Beyond how many zeros the masks together weigh nothing beside those with one."""
    num_components = len(weights) - 1
    if num_components > _MOST_NARROW:
        return num_components
    share = weights * np.array([math.comb(num_components, k) for k in range(num_components + 1)])
    beyond = np.cumsum(share[::-1])[::-1]
    negligible = np.flatnonzero(beyond[1:] <= _NEGLIGIBLE * share[1])
    return max(1, int(negligible[0])) if len(negligible) else num_components
