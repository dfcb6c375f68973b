"""The command that a message names for an extra, by where the package came from."""

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from intervox.errors import install_command


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install intervox[vad]"),
        ({"url": "file:///a%20b", "dir_info": {"editable": True}}, "pip install -e '/a b[vad]'"),
        ({"url": "file:///work", "dir_info": {}}, "pip install '/work[vad]'"),
        ({"url": "file:///x.whl", "archive_info": {}}, "pip install 'intervox[vad] @ file:///x.whl'"),
    ],
)
def test_an_extra_comes_from_where_the_package_came(
    origin: Mapping[str, object] | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if origin:
        (tmp_path / "direct_url.json").write_text(json.dumps(origin))
    beside_the_sources = metadata.PathDistribution(tmp_path / "none")
    found = [beside_the_sources, metadata.PathDistribution(tmp_path)]
    monkeypatch.setattr(metadata, "distributions", lambda name: found)
    assert install_command("vad") == command


def test_a_source_that_nobody_installed_names_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distributions", lambda name: [])
    assert install_command("vad") == "pip install intervox[vad]"
