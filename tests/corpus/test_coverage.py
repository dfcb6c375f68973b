import json
import math

import pytest
from typer.testing import CliRunner

from intervox.cli.app import app
from intervox.clips.labels import Text
from intervox.corpus.inspect.coverage import Coverage, coverage, inventory, tokenise


@pytest.mark.parametrize(
    ("ipa", "words"),
    [
        ("dʒˈʌdʒ t͡ʃˈuːz", [["dʒ", "ʌ", "dʒ"], ["tʃ", "uː", "z"]]),
        ("ˈɑːɹt, bˈʌʔn̩!", [["ɑː", "ɹ", "t"], ["b", "ʌ", "ʔ", "n̩"]]),
        ("hˈaʊs ɡˈoʊ", [["h", "aʊ", "s"], ["ɡ", "oʊ"]]),
        ("pʲatnˈɑttsʌtʲ", [["pʲ", "a", "t", "n", "ɑ", "t", "ts", "ʌ", "tʲ"]]),
        ("kˌuɾɐsˈɐ̃ʊ̃", [["k", "u", "ɾ", "ɐ", "s", "ɐ̃ʊ̃"]]),
        ("ni2 χˈɑ1 (en)dʒiːn(de)", [["n", "i"], ["χ", "ɑ"], ["dʒ", "iː", "n"]]),
        (" ,. ", []),
    ],
)
def test_transcriptions_are_cut_into_phonemes(ipa: str, words: list[list[str]]) -> None:
    assert tokenise(ipa) == words


def measured(*said: str, language: str = "en") -> Coverage:
    return coverage([Text(text, language, "own") for text in said])[language]


def test_counts_pairs_lengths_and_entropy_of_known_words() -> None:
    found = measured("tea", "tea tea")
    assert found.phonemes == {"iː": 3, "t": 3}
    assert found.diphones == 1
    assert found.entropy == pytest.approx(1.0)
    assert found.texts == 2
    assert found.lengths["phonemes"]["1"] == 4
    assert found.lengths["words"] == pytest.approx(
        {"0": 1, "0.05": 1.05, "0.25": 1.25, "0.5": 1.5, "0.75": 1.75, "0.95": 1.95, "1": 2}
    )
    assert measured("tea").phoneme_share == pytest.approx(2 / len(inventory("en")[0]))


def test_a_missing_phoneme_is_named() -> None:
    found = measured("zebra", "pleasant wizard", "measure the tree", "yellow fish")
    assert "tʃ" in found.missing
    assert "ð" not in found.missing
    assert "tʃ" not in measured("zebra", "church").missing


def test_the_lexicon_covers_itself_and_a_language_without_one_has_no_shares() -> None:
    phonemes, pairs = inventory("de")
    assert {"ç", "x", "ts", "ʃ", "aɪ"} <= phonemes
    assert len(pairs) > 300
    found = measured("こんにちは", language="ja")
    assert found.phoneme_share is None
    assert found.missing == []


def test_a_text_that_is_not_spoken_does_not_shift_the_others() -> None:
    found = measured("tea", "—", "see")
    assert found.lengths["phonemes"]["0"] == 0
    assert found.phonemes["iː"] == 2


def test_the_command_prints_a_table_and_json() -> None:
    shown = CliRunner().invoke(app, ["corpus", "coverage", "mini"])
    assert shown.exit_code == 0
    assert "phonemes" in shown.output
    found = json.loads(CliRunner().invoke(app, ["corpus", "coverage", "mini", "--json"]).output)["en"]
    assert found["texts"] == 200
    assert 0.9 < found["phoneme_share"] <= 1
    assert 4 < found["entropy"] < math.log2(found["distinct_phonemes"])
    assert "de" in CliRunner().invoke(app, ["corpus", "languages"]).output
