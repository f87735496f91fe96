"""What is to be explained and with what means, checked where it comes in."""

import dataclasses
import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import jax
from jax.core import Tracer
from jax.sharding import Mesh
from jaxtyping import Array, Bool

from lime_jax.core import asked_again
from lime_jax.core.arguments import function, instance, whole_number
from lime_jax.core.batch_independence import Batch, look_at_batch
from lime_jax.core.components import Components, check_components, check_one_item
from lime_jax.core.execution.host_model import HostModel
from lime_jax.core.execution.kept_programs import make_room_for
from lime_jax.core.execution.precision import check_precision, products
from lime_jax.core.execution.progress import Progress
from lime_jax.core.execution.signature_cache import SignatureCache, signature
from lime_jax.core.explanation import Explanation
from lime_jax.core.item_axis import as_one_item, item_of
from lime_jax.core.keys import MaybeKey, keys_per_item, single_key
from lime_jax.core.lifting import as_new, lift
from lime_jax.core.methods import Method, limit_of, resolve
from lime_jax.core.modes import usual_modes
from lime_jax.core.predictor import Predictor, as_predictor, check_predict
from lime_jax.core.pytree import is_traced, varying_axes
from lime_jax.core.receptive_fields.declaration import Declaration, Kind, declaration

Result = TypeVar("Result")

_functions: SignatureCache[bool] = SignatureCache()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What every way of computing an explanation starts from.

    Attributes:
      predict: the model, as its user gave it.
      components: of one item, or of many with a leading axis on every array.
      stated: the method as its user stated it; None where `masks` are given.
      key: of one item, or one per item; or None.
      batch_size: inputs at a time, if it is asked for.
      precision: of products, see `lime_jax.core.execution.precision.products`.
      mesh: devices that share the work, or None.
      progress: called as `progress(done, total)`, or None.
      num_groups: the outputs come in so many groups; the errors of the first one count.
      masks: what to evaluate instead of a neighbourhood, `(num_masks, num_components)`, or None.
      may_measure: whether batch sizes may be tried out.
      worked_out: what executors have found out about it, by name; see `once_per_problem`.
    """

    predict: Any
    components: Components
    stated: Method | None
    key: MaybeKey = None
    batch_size: int | None = None
    precision: str | None = None
    mesh: Mesh | None = None
    progress: Progress | None = None
    num_groups: int = 1
    masks: Bool[Array, "num_masks num_components"] | None = None
    may_measure: bool = True
    worked_out: dict[Any, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_item(
        cls, predict: Any, components: Components, method: Method, **means: Any
    ) -> "Problem":
        """States the explanation of a single item.

        Raises:
          ValueError: if there are several items or keys, or the batch size is impossible.
        """
        means["key"] = single_key(means.get("key"))
        check_one_item(components)
        check_predict(predict)
        check_method(method)
        return cls(predict=predict, components=components, stated=method, **_check_means(means))

    @classmethod
    def of_items(
        cls, predict: Any, components: Components, method: Method, **means: Any
    ) -> "Problem":
        """States the explanations of many items, with one key each.

        Raises:
          ValueError: if there is one item only, the keys do not fit, or the batch size is
            impossible.
        """
        check_components(components)
        if not components.is_batched:
            raise ValueError(
                f"`components` must have a leading axis over items, got sources of shape "
                f"{components.sources.shape}. Make them with `jax.vmap(from_stems)(stems)`."
            )
        means["key"] = keys_per_item(means.get("key"), components.num_items)
        check_predict(predict)
        check_method(method)
        return cls(predict=predict, components=components, stated=method, **_check_means(means))

    @classmethod
    def of_masks(
        cls,
        predict: Any,
        components: Components,
        masks: Bool[Array, "num_masks num_components"],
        **means: Any,
    ) -> "Problem":
        """States the evaluation of given masks of a single item.

        Raises:
          ValueError: if there are several items, no mask, or masks of another size, or the batch
            size is impossible.
        """
        check_one_item(components)
        check_masks(masks)
        if masks.shape[1:] != (components.num_components,):
            raise ValueError(
                f"`masks` must have shape (num_masks, {components.num_components}), one column per "
                f"component, got {masks.shape}."
            )
        check_predict(predict)
        means = _check_means(means)
        return cls(predict=predict, components=components, stated=None, masks=masks, **means)

    @property
    def given_masks(self) -> Bool[Array, "num_masks num_components"]:
        """The masks to evaluate, which there are here."""
        assert self.masks is not None
        return self.masks

    @property
    def num_components(self) -> int:
        """How many components a mask switches."""
        return self.components.num_components

    @property
    def is_single(self) -> bool:
        """Whether the components have no axis over items."""
        return not self.components.is_batched

    @property
    def num_items(self) -> int:
        """How many items are explained."""
        return 1 if self.is_single else self.components.num_items

    @functools.cached_property
    def method(self) -> Method:
        """The method where every mask costs an evaluation of the model."""
        assert self.stated is not None
        return resolve(self.stated, self.num_components, num_groups=self.num_groups)

    @functools.cached_property
    def method_with_lookup(self) -> Method:
        """The method where a mask costs a head only."""
        assert self.stated is not None
        return resolve(
            self.stated, self.num_components, with_lookup=True, num_groups=self.num_groups
        )

    @property
    def limit(self) -> tuple[Method, int] | None:
        """The method over all masks and how many it may replace; None if it is for a sample."""
        return None if self.stated is None else limit_of(self.stated, self.num_components)

    @functools.cached_property
    def predictor(self) -> Predictor:
        """The model, whose arrays are leaves."""
        model = as_predictor(self.predict)
        if varying_axes(self.components, self.key):
            return as_new(model)
        return lift(model, self._example, with_derivatives=self._is_stated_traced)

    def prepare(self) -> None:
        """Traces a model that may close over arrays, and makes room for programs.

        Called first of all, where an error of the model is not far from who called.
        """
        is_host = isinstance(self.predict, HostModel)
        shapes = signature(self.first[0]) if is_host else self.signature
        if not self.is_traced:
            method = jax.tree.structure(self.stated)
            make_room_for((shapes, self.num_items, self.batch_size, method))

    @property
    def is_function(self) -> bool:
        """Whether nothing shows that the model's output depends on more than its input.

        What its program leaves open is tried once, outside jit.
        """
        if isinstance(self.predict, HostModel):
            return self.predict.is_function is not False
        found = look_at_batch(self.predictor, self._example(), self.signature)
        if found != Batch.UNKNOWN or not self.is_here:
            return found != Batch.MIXED
        return _functions.get_or_make(
            (self.signature, self.batch_size),
            lambda: asked_again.is_function(self.predictor, self.first[0], self.batch_size),
        )

    def _example(self) -> jax.ShapeDtypeStruct:
        """A batch of the size asked for: some models take no other."""
        sources = self.components.sources
        shape = sources.shape[-self.components.input_ndim :]
        return jax.ShapeDtypeStruct((self.batch_size or 1, *shape), sources.dtype)

    @functools.cached_property
    def is_traced(self) -> bool:
        """Whether this is inside jit, vmap or grad, be it by what the model closes over alone."""
        if self._is_stated_traced or isinstance(self.predict, HostModel):
            return self._is_stated_traced
        return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self.predictor))

    @property
    def _is_stated_traced(self) -> bool:
        return is_traced((self.predict, self.components, self.stated, self.key, self.masks))

    @property
    def is_here(self) -> bool:
        """Whether this process alone computes, and outside jit."""
        return not self.is_traced and (self.mesh is None or jax.process_count() == 1)

    @property
    def arguments(self) -> tuple[Predictor, Components, Method, MaybeKey]:
        """What the programs for whole inputs take."""
        return self.predictor, self.components, self.method, self.key

    @property
    def context(self) -> ExitStack:
        """JAX's settings while it is solved: of products, which a host model computes as it likes.

        Numbers that are not known are NaN here, and what is moved between host and device is meant.
        """
        stack = ExitStack()
        stack.enter_context(usual_modes())
        if not isinstance(self.predict, HostModel):
            stack.enter_context(products(self.precision))
        return stack

    @functools.cached_property
    def signature(self) -> Any:
        """What the programs for one item depend on."""
        return signature(self.predictor, self.first[0])

    @functools.cached_property
    def _declaration(self) -> Declaration | None:
        declared = declaration(self.predict, Declaration) if self.is_here else None
        return None if declared is None else declared.lift_arrays(self._example())

    def declaration_of(self, kind: type[Kind]) -> Kind | None:
        """Returns what the model declares of its receptive field, where use can be made of it."""
        return self._declaration if isinstance(self._declaration, kind) else None

    def needed_declaration(self, kind: type[Kind]) -> Kind:
        """Returns the declaration of that kind, which there is here."""
        model = self.declaration_of(kind)
        assert model is not None
        return model

    @functools.cached_property
    def items(self) -> tuple[Components, MaybeKey]:
        """Components and keys with a leading axis over items."""
        here = self.components, self.key
        return as_one_item(here) if self.is_single else here

    @functools.cached_property
    def first(self) -> tuple[Components, MaybeKey]:
        """Components and key of the first item."""
        here = self.components, self.key
        return here if self.is_single else item_of(here, 0)

    def as_stated(self, explanations: Explanation) -> Explanation:
        """Drops the axis over items where the components have none."""
        return item_of(explanations, 0) if self.is_single else explanations

    def report_in_full(self, explanation: Explanation) -> Explanation:
        """Reports that all is done, once."""
        if self.progress is not None:
            number = int(explanation.num_evaluations)
            self.progress(number, number)
        return explanation


def once_per_problem(function: Callable[[Problem], Result]) -> Callable[[Problem], Result]:
    """Keeps what a function of a problem returns with that problem."""

    @functools.wraps(function)
    def call(problem: Problem) -> Result:
        if function not in problem.worked_out:
            problem.worked_out[function] = function(problem)
        return problem.worked_out[function]

    return call


def check_method(method: Any) -> None:
    """Refuses what is no `Method`, or has parts that are none.

    Raises:
      ValueError: naming the part.
    """
    instance("method", method, Method, "Pass for example `lime(1000)` or `exhaustive()`.")
    for part in ("sampler", "kernel", "surrogate"):
        function(part, getattr(method, part))


def check_masks(masks: Array) -> None:
    """Refuses what are no masks.

    Raises:
      ValueError: if they are not `(num_masks, num_components)` truth values, or none.
    """
    if masks.ndim != 2 or masks.dtype != bool:
        raise ValueError(
            "`masks` must be True and False of shape (num_masks, num_components), got "
            f"{masks.dtype} of shape {masks.shape}."
        )
    if len(masks) == 0:
        raise ValueError("`masks` is empty. Pass at least one mask.")


def _check_means(means: dict[str, Any]) -> dict[str, Any]:
    if means.get("batch_size") is not None:
        means["batch_size"] = whole_number("batch_size", means["batch_size"], hint="Or None.")
    if means.get("progress") is not None:
        function("progress", means["progress"])
    check_precision(means.get("precision"))
    if (mesh := means.get("mesh")) is not None:
        instance("mesh", mesh, Mesh, "Make one with `jax.make_mesh`.")
        # How arrays are shared is decided here, whatever kind of axes `jax.make_mesh` made.
        means["mesh"] = Mesh(mesh.devices, mesh.axis_names)
    return means
