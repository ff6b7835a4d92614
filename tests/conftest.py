"""What several tests share."""

import pytest

from nascore import genotypes
from nascore.nets import operations


@pytest.fixture
def open_table():
    """The known operations, afterwards as they were."""
    registries = (genotypes.OPERATIONS, genotypes.TABLE, operations.REGISTERED)
    before = [registry.copy() for registry in registries]
    yield
    for registry, contents in zip(registries, before):
        registry.clear()
        registry.update(contents)
