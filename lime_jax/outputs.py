"""Which outputs of a model are reported: all, the highest, or some by their names."""

import csv
import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from lime_jax.errors import LimeJaxError, unknown_name

_WORD = re.compile(r"all|top:[^,]*")


@dataclasses.dataclass(frozen=True)
class Outputs:
    """The outputs of a model that are reported.

    Attributes:
      indices: of the outputs, the first one first; None for those with the highest predictions.
      count: how many.
    """

    indices: tuple[int, ...] | None
    count: int

    def of(self, prediction: np.ndarray) -> tuple[int, ...]:
        """Returns their indices, for a prediction `(num_outputs,)`; NaN counts as lowest."""
        if self.indices is not None:
            return self.indices
        # NaN must not be the first output shown.
        order = np.argsort(-np.nan_to_num(prediction, nan=-np.inf), kind="stable")
        return tuple(int(index) for index in order[: self.count])


@dataclasses.dataclass(frozen=True)
class OutputSelection:
    """The outputs asked for, before the model is known: all, the N highest, or some by name.

    Attributes:
      num_highest: N of `top:N`, or None.
      names: in their order; None for all, and for the highest.
      text: as typed, which may be the name of a single output as it stands; None if nothing was.
    """

    num_highest: int | None = None
    names: tuple[str, ...] | None = None
    text: str | None = None

    @classmethod
    def parse(cls, text: str | None, default: str = "all") -> "OutputSelection":
        """Reads `all`, `top:N`, or names separated by commas, those with commas in double quotes.

        Args:
          text: as typed; an output of that very name is meant first.
          default: what is meant where it is None.

        Raises:
          ValueError: for anything else.
        """
        if text is None:
            return cls.parse_stored(default)
        if not _WORD.fullmatch(text):
            return cls(names=_names_in(text), text=text)
        if text == "all":
            return cls(text=text)
        number = text.removeprefix("top:")
        if not number.isdecimal() or int(number) < 1:
            raise ValueError(
                f"`--outputs` must be top:N with a number N, or names, got {text!r}. A name that "
                "looks like that goes in double quotes."
            )
        return cls(num_highest=int(number), text=text)

    @classmethod
    def parse_stored(cls, text: str) -> "OutputSelection":
        """Reads what `stored` returns; `all` and `top:N` are no names there."""
        return dataclasses.replace(cls.parse(text), text=None)

    def serialise(self, output_names: Sequence[str]) -> str:
        """Returns what means the same whatever the names of the outputs are."""
        if self.text is None:
            assert self.names is None, "names are always typed"
            return "all" if self.num_highest is None else f"top:{self.num_highest}"
        is_plain = self.names == (self.text,) or self.text not in output_names
        return self.text if is_plain else quoted(self.text)

    def resolve(self, output_names: Sequence[str]) -> Outputs:
        """Finds them among the outputs of a model.

        Raises:
          LimeJaxError: for a name that no output has, or that could be several.
        """
        if self.text is not None and self.text in output_names:
            return Outputs((output_names.index(self.text),), 1)
        if self.num_highest is not None:
            return Outputs(None, min(self.num_highest, len(output_names)))
        if self.names is None:
            indices = tuple(range(len(output_names)))
        else:
            indices = tuple(dict.fromkeys(_output_index(name, output_names) for name in self.names))
        return Outputs(indices, len(indices))


def quoted(name: str) -> str:
    """Returns a name so that `OutputSelection.parse` reads it as one, whatever it holds.

    Example:
      >>> quoted('rock, 12" mix')
      '"rock, 12"" mix"'
    """
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _names_in(text: str) -> tuple[str, ...]:
    try:
        [row] = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"`--outputs` has double quotes that do not go together, got {text!r}. Use all, top:N "
            'or names separated by commas; write "rock, pop" for a name with a comma, and "" for '
            "a double quote in it."
        ) from error
    names = tuple(name.strip() for name in row if name.strip())
    if not names:
        raise ValueError("`--outputs` is empty. Use all, top:N or names separated by commas.")
    return names


def _output_index(name: str, output_names: Sequence[str]) -> int:
    """The index of the output of that name, in another case only where a single one is meant."""
    if name in output_names:
        return output_names.index(name)
    alike = [known for known in output_names if _folded(known) == _folded(name)]
    if len(alike) > 1:
        raise LimeJaxError(
            f"`--outputs` {name!r} could be {' or '.join(map(repr, alike))}. Write it exactly."
        )
    if not alike:
        has_commas = any("," in known for known in output_names)
        hint = " Names with commas go in double quotes." if has_commas else ""
        raise LimeJaxError(unknown_name("output", name, output_names) + hint)
    return output_names.index(alike[0])


def _folded(name: str) -> str:
    return name.strip().casefold()
