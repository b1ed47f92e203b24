"""`mutations.py` takes minutes, so it is run by hand; this keeps it from going stale."""

import pytest

from tests.torture.mutations import CHECKOUT, MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_has_its_place_and_its_test(mutation: Mutation):
    assert (CHECKOUT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1
    file, _, name = mutation.test.partition("::")
    assert f"def {name}(" in (CHECKOUT / file).read_text(encoding="utf-8")
