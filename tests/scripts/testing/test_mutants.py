"""Small faults are put in where the list says, or not at all."""

import ast
import json

import pytest

from scripts.testing import mutants
from scripts.testing.mutants import Mutant

SOURCE = """
class Table:
    def width(self, rows):
        return len(rows) + 1

def width(rows):
    return len(rows) + 1
"""


def test_the_named_function_is_changed_and_no_other():
    mutant = Mutant("a.py", "Table.width", "return len(rows) + 1", "return len(rows) - 1")
    changed = mutants.mutated(SOURCE, mutant)
    assert changed.count("- 1") == 1 and changed.index("- 1") < changed.index("def width(rows)")


def test_an_unknown_line_is_refused():
    with pytest.raises(LookupError, match="width has 0"):
        mutants.mutated(SOURCE, Mutant("a.py", "width", "return 0", "return 1"))


def test_every_drawn_mutant_is_valid_code():
    for mutant in mutants.draw(mutants.ROOT, "executors"):
        source = (mutants.ROOT / mutant.file).read_text(encoding="utf-8")
        assert ast.unparse(ast.parse(mutants.mutated(source, mutant)))


@pytest.mark.parametrize("kind", mutants.KINDS)
def test_the_stored_list_fits_the_engine(kind):
    listed = json.loads(mutants.list_of(kind).read_text(encoding="utf-8"))
    assert len(listed) == mutants.KINDS[kind][1]
    for entry in listed:
        mutant = Mutant(**entry)
        source = (mutants.ROOT / mutant.file).read_text(encoding="utf-8")
        assert mutants.mutated(source, mutant) != source
