"""The packaged model, for answers and the server."""

import pytest

from intervox.model.model import SubspaceModel


@pytest.fixture(scope="package")
def packaged() -> SubspaceModel:
    """Return the packaged model in PyTorch, whose parts a test may replace."""
    return SubspaceModel.from_pretrained("default")
