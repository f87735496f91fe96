"""The named recipes: which masks, how they are weighed, what is fitted."""

import dataclasses
from typing import Any, SupportsIndex

from lime_jax.core.arguments import one_of, positive, real_number, truth, whole_number
from lime_jax.core.masks import neighbourhood
from lime_jax.core.masks.bernoulli import Bernoulli
from lime_jax.core.masks.exhaustive import Exhaustive
from lime_jax.core.masks.neighbourhood import Sampler, check_num_samples
from lime_jax.core.masks.sequential import Auto, auto
from lime_jax.core.masks.shapley_pairs import KernelShap
from lime_jax.core.masks.stopping import StoppingRule
from lime_jax.core.pytree import pytree
from lime_jax.core.surrogates import kernels
from lime_jax.core.surrogates.banzhaf import Banzhaf
from lime_jax.core.surrogates.kernels import DISTANCES, Exponential, Flat, Kernel
from lime_jax.core.surrogates.ridge import Ridge
from lime_jax.core.surrogates.shapley import Shapley
from lime_jax.core.surrogates.sparse import ForwardSelection, HighestWeights, LassoPath
from lime_jax.core.surrogates.surrogate import Alpha, Surrogate

FEATURE_SELECTIONS = ("auto", "none", "forward_selection", "highest_weights", "lasso_path")


@pytree
class Method:
    """How an explanation is made; build your own from any parts, or use a recipe.

    Attributes:
      sampler: the masks of the neighbourhood.
      kernel: how much each mask counts.
      surrogate: what is fitted to masks and outputs.
      stopping: when rounds of masks are enough; None means a single neighbourhood.
    """

    sampler: Sampler
    kernel: Kernel
    surrogate: Surrogate
    stopping: StoppingRule | None = None


def lime(
    num_samples: SupportsIndex | Auto | str = 1000,
    *,
    kernel_width: Alpha = 0.25,
    distance: str = "cosine",
    alpha: Alpha = 1.0,
    fit_intercept: bool = True,
    feature_selection: str = "auto",
    num_features: SupportsIndex | None = None,
) -> Method:
    """Returns LIME with the defaults of its image explainer, which are audioLIME's too.

    Args:
      num_samples: how many masks are drawn, the unperturbed input included. Masks that repeat are
        evaluated once. "auto" takes better masks than LIME's and as few as will do; `auto` says
        what errors to reach.
      kernel_width: of the exponential kernel, in units of the distance.
      distance: cosine, l2 or hamming, between a mask and the mask of all ones.
      alpha: ridge penalty of the surrogate.
      fit_intercept: whether the surrogate has one.
      feature_selection: none, forward_selection, highest_weights, lasso_path, or auto, which is
        forward_selection up to 6 features and highest_weights beyond.
      num_features: how many components an output may use; None means all, without selection.

    References:
      Ribeiro et al., "Why Should I Trust You?": Explaining the Predictions of Any Classifier, 2016.
      Haunschmid et al., audioLIME: Listenable Explanations Using Source Separation, 2020.

    Example:
      >>> import jax, jax.numpy as jnp, lime_jax as lj
      >>> stems = lj.from_stems(jnp.array([[1.0, 1.0], [3.0, 3.0]]))
      >>> method = lj.lime(100, alpha=0.0)
      >>> sums = lambda batch: batch.sum(axis=1, keepdims=True)
      >>> explanation = lj.explain(sums, stems, method, key=jax.random.key(0))
      >>> [f"{coefficient:.2f}" for coefficient in explanation.coefficients[0]]
      ['2.00', '6.00']
    """
    alpha = _penalty(alpha)
    surrogate = _ridge_on_selected(feature_selection, num_features, alpha, fit_intercept)
    return Method(_sampler(num_samples), _exponential(kernel_width, distance), surrogate)


def slime(num_samples: SupportsIndex | Auto | str = 70_000) -> Method:
    """Returns LIME as the published SLIME code runs it: l2 distance, kernel width 0.25, alpha 1.

    A mask with k zeros then weighs exp(-8k), so the fit is close to single-component occlusion.

    References:
      Mishra et al., Reliable Local Explanations for Machine Listening, 2020.
    """
    if isinstance(num_samples, str) and num_samples == "auto":
        num_samples = auto(equivalent_num_samples=70_000)
    return lime(num_samples, kernel_width=0.25, distance="l2", alpha=1.0)


def exhaustive(
    *,
    kernel_width: Alpha = 0.25,
    distance: str = "cosine",
    alpha: Alpha = 1.0,
    equivalent_num_samples: SupportsIndex | None = None,
) -> Method:
    """Returns LIME on all `2**num_components` masks, each once: no sampling noise.

    Args:
      kernel_width: of the exponential kernel, in units of the distance.
      distance: cosine, l2 or hamming.
      alpha: ridge penalty of the surrogate.
      equivalent_num_samples: makes the penalty as strong as `lime` has it at this many samples.
        The answer is then the centre that sampled runs scatter around. None applies `alpha` to
        the `2**num_components` masks as they are, which shrinks more where they are few.
    """
    if equivalent_num_samples is not None:
        equivalent_num_samples = check_num_samples(equivalent_num_samples)
    sampler = Exhaustive(equivalent_num_samples)
    return Method(sampler, _exponential(kernel_width, distance), Ridge(_penalty(alpha)))


def kernel_shap(num_samples: SupportsIndex = 2048) -> Method:
    """Returns Shapley values by weighted least squares on paired samples of the Shapley kernel.

    Exact when `2**num_components <= num_samples`.

    References:
      Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017.
      Covert and Lee, Improving KernelSHAP, 2021.
    """
    num_samples = check_num_samples(num_samples)
    return Method(KernelShap(num_samples), Flat(), Shapley())


def shapley() -> Method:
    """Shapley values, exactly, from all masks: fair shares of output(all on) - output(all off)."""
    return Method(Exhaustive(), kernels.Shapley(), Shapley())


def banzhaf() -> Method:
    """Banzhaf values, exactly, from all masks: the mean effect of switching a component on."""
    return Method(Exhaustive(), Flat(), Banzhaf())


def resolve(
    method: Method, num_components: int, *, with_lookup: bool = False, num_groups: int = 1
) -> Method:
    """Returns the method with a sampler, and a rule for when to stop, in place of `auto`.

    Args:
      method: as a user states it.
      num_components: of the input.
      with_lookup: whether a mask costs a head only, so that more of them are few.
      num_groups: see `lime_jax.core.masks.stopping.StoppingRule`.

    Raises:
      ValueError: if `auto` is asked for Shapley values.
    """
    if not isinstance(method.sampler, Auto):
        return method
    if isinstance(method.surrogate, Shapley):
        raise ValueError(
            "`auto` is for `lime` and `slime`. Use `shapley()`, which is exact where it can be, or "
            "`kernel_shap(num_samples)`."
        )
    weights = kernels.weights_by_zeros(method.kernel, num_components)
    sampler, stopping = method.sampler.resolve(
        num_components, weights, with_lookup=with_lookup, num_groups=num_groups
    )
    return dataclasses.replace(method, sampler=sampler, stopping=stopping)


def limit_of(method: Method, num_components: int) -> tuple[Method, int] | None:
    """Returns the method over all masks, however many, and how many evaluations that may replace.

    None if the method is for a sample of masks.
    """
    num_masks = 2**num_components
    if isinstance(method.sampler, Auto):
        limit = dataclasses.replace(method, sampler=method.sampler.limit)
        return limit, min(num_masks, method.sampler.max_evaluations)
    return (method, num_masks) if isinstance(method.sampler, Exhaustive) else None


def most_evaluations(method: Method, num_components: int) -> int:
    """Returns how many times a model that declares no receptive field is evaluated, at the most."""
    resolved = resolve(method, num_components)
    rounds = 1 if resolved.stopping is None else resolved.stopping.most_rounds
    return rounds * neighbourhood.size_of(resolved.sampler, num_components).num_masks


def _sampler(num_samples: SupportsIndex | Auto | str) -> Sampler:
    if isinstance(num_samples, Auto):
        return num_samples
    if isinstance(num_samples, str):
        if num_samples != "auto":
            raise ValueError(f'`num_samples` must be a number or "auto", got {num_samples!r}.')
        return auto()
    return Bernoulli(check_num_samples(num_samples))


def _exponential(kernel_width: Any, distance: str) -> Exponential:
    distance = one_of("distance", distance, DISTANCES)
    hint = "LIME uses 0.25."
    kernel_width = real_number("kernel_width", kernel_width, "be positive", positive, hint)
    return Exponential(kernel_width, DISTANCES[distance])


def _penalty(alpha: Alpha) -> Alpha:
    def allows(number: float) -> bool:
        return number == 0 or positive(number)

    return real_number("alpha", alpha, "be zero or positive", allows, "LIME uses 1.")


def _ridge_on_selected(
    feature_selection: str, num_features: SupportsIndex | None, alpha: Alpha, fit_intercept: bool
) -> Surrogate:
    feature_selection = one_of("feature_selection", feature_selection, FEATURE_SELECTIONS)
    fit_intercept = truth("fit_intercept", fit_intercept)
    if num_features is not None:
        num_features = whole_number("num_features", num_features, hint="Or None for all.")
    if num_features is None or feature_selection == "none":
        return Ridge(alpha, fit_intercept)
    if feature_selection == "auto":
        feature_selection = "forward_selection" if num_features <= 6 else "highest_weights"
    sparse = {
        "forward_selection": ForwardSelection,
        "highest_weights": HighestWeights,
        "lasso_path": LassoPath,
    }[feature_selection]
    return sparse(num_features, alpha=alpha, fit_intercept=fit_intercept)
