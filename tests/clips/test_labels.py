"""What two texts have in common when they sound the same."""

import pytest

from intervox.clips.labels import normalise_text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Yes!", "yes"),
        (" DON’T  stop ", "dont stop"),
        ("ｓｅｖｅｎ", "seven"),
        ("e\u0301t\u00e9", "été"),
        ("…", ""),
    ],
)
def test_texts_that_sound_the_same_have_one_normal_form(text: str, normal: str) -> None:
    assert normalise_text(text) == normal
