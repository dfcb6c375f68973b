import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from intervox.clips.labels import Text, normalise_text
from intervox.corpus.plan.lexicon import lexicon_languages, load_lexicon
from intervox.corpus.plan.texts import MAX_CHARACTERS, read_texts, reserved_texts, texts
from intervox.engines.espeak import EspeakEngine
from intervox.errors import IntervoxError
from intervox.recipe.corpus import KINDS, TextKind, TextSettings
from intervox.recipe.engines import EspeakSettings

LANGUAGES = lexicon_languages()
EVERY_KIND = dict.fromkeys(KINDS, 1.0)
DIGITS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}


def drawn(kind: TextKind, language: str = "en", count: int = 60) -> list[str]:
    return [text.text for text in texts(TextSettings(count=count, kinds={kind: 1}), [language], 0)]


def test_the_default_english_inventory_is_the_one_of_the_published_results() -> None:
    found = [text.text for text in texts(TextSettings(), ["en"], 0)]
    assert hashlib.sha256("\n".join(found).encode()).hexdigest()[:16] == "ff9c65416bd6a1fd"


def test_there_are_at_least_ten_further_languages() -> None:
    assert len(set(LANGUAGES) - {"en"}) >= 10


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_default_inventory_is_large_mixed_and_free_of_reserved_texts(language: str) -> None:
    found = texts(TextSettings(), [language], 0)
    assert len(found) == 1600
    assert len({normalise_text(text.text) for text in found}) == 1600
    assert {text.kind for text in found} == {"word", "pseudo-word", "phrase", "sentence"}
    assert {text.language for text in found} == {language}
    lengths = Counter(len(text.text.split()) for text in found)
    assert min(lengths) == 1
    assert max(lengths) >= 14
    assert found == texts(TextSettings(), [language], 0)
    assert found != texts(TextSettings(), [language], 1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_kind_of_any_language_gives_a_reserved_text(language: str) -> None:
    everything = texts(TextSettings(count=800, kinds=EVERY_KIND), [language], 3)
    assert {text.kind for text in everything} == set(KINDS)
    reserved = reserved_texts()
    assert not any(text in reserved for text in everything)
    entries = [Text(entry, language, "word") for entry in load_lexicon(language).entries()]
    alone = [text for text in entries if " " not in text.text and len(text.text) > 3]
    assert not any(text in reserved for text in alone)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_spoken(language: str) -> None:
    engine = EspeakEngine(EspeakSettings(voices=4, languages=(language,)))
    voices = engine.voices()
    assert {voice.language for voice in voices} == {language}
    for number, kind in enumerate(KINDS):
        for text in drawn(kind, language, 2):
            wave = engine.render(text, voices[number % 4].name, 1)
            assert len(wave) > 0.2 * 16_000, text
            assert np.abs(wave).max() > 0.02, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_running_texts_last_about_eight_seconds(language: str) -> None:
    engine = EspeakEngine(EspeakSettings(voices=20, languages=(language,)))
    spoken = zip(drawn("running", language, 20), engine.voices(), strict=True)
    lengths = [len(engine.render(text, voice.name, 1)) / 16_000 for text, voice in spoken]
    # The median of 120 texts is 7.9 to 8.7 s, by language, and that of ten varies by 0.6 s.
    assert 7 <= np.median(lengths) <= 10.5


def test_each_kind_is_what_it_is_called() -> None:
    assert all(" " not in text for text in drawn("word") + drawn("pseudo-word"))
    assert all(1 <= len(text.split()) <= 2 for text in drawn("keyword"))
    assert not {word for text in drawn("number", count=200) for word in text.split()} & DIGITS
    assert all(len(letter) == 1 and letter.isupper() for text in drawn("spelled") for letter in text.split())
    assert all(2 <= text.count(".") <= 3 for text in drawn("running"))


def test_shares_are_normalised_and_counts_exact() -> None:
    settings = TextSettings(count=7, kinds={"number": 3, "word": 1, "phrase": 0})
    assert settings.kinds == {"word": 0.25, "number": 0.75}
    assert Counter(text.kind for text in texts(settings, ["fr"], 0)) == {"number": 5, "word": 2}
    for count in (2, 3, 11, 50, 333):
        assert len(texts(TextSettings(count=count, kinds=EVERY_KIND), ["en"], 0)) == count


@pytest.mark.parametrize("kinds", [{}, {"word": 0}, {"word": -1, "phrase": 2}, {"poem": 1}])
def test_impossible_shares_are_refused(kinds: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TextSettings.model_validate({"kinds": kinds})


def test_languages_do_not_change_each_other() -> None:
    settings = TextSettings(count=40)
    both = texts(settings, ["de", "en"], 5)
    assert both == texts(settings, ["de"], 5) + texts(settings, ["en"], 5)
    assert [text.language for text in texts(settings, ["pt-br"], 5)] == ["pt-br"] * 40


def test_what_single_words_lack_the_next_kind_gives() -> None:
    found = texts(TextSettings(count=1600), ["de"], 0)
    counts = Counter(text.kind for text in found)
    assert counts["word"] < 480
    assert counts["word"] + counts["pseudo-word"] == 880
    with pytest.raises(IntervoxError, match=r"has only \d+ of 5,000 texts: lower `texts.count`"):
        texts(TextSettings(count=5000, kinds={"word": 1}), ["en"], 0)


def test_a_language_without_lexicon_names_those_that_have_one() -> None:
    with pytest.raises(IntervoxError, match=r"no built-in texts in 'ja', only in cs, de, en, .*texts\.file"):
        texts(TextSettings(), ["ja"], 0)


def write(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    path = folder / "t.txt"
    path.write_bytes(content.encode(encoding))
    return path


def test_own_texts_are_read_line_by_line(tmp_path: Path) -> None:
    path = write(tmp_path, "one line\r\n\r\nde\tGuten Abend\nanother\n One  line! \n", "utf-8-sig")
    assert read_texts(path) == [
        Text("one line", "en", "own"),
        Text("Guten Abend", "de", "own"),
        Text("another", "en", "own"),
    ]
    settings = TextSettings(file=path)
    assert [text.text for text in texts(settings, ["de"], 0)] == ["Guten Abend"]
    assert {text.language for text in texts(settings, ["en-gb", "de"], 0)} == {"en-gb", "de"}
    with pytest.raises(IntervoxError, match=r"has no text in 'fr'"):
        texts(settings, ["fr"], 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n \n", "holds no text: write one text a line"),
        ("fine\nbell \a here", "line 2 holds a control character"),
        ("en\ta\tb", "line 1 holds a control character"),
        ("fine\n\n" + "x " * 201, "line 3 has 401 characters: split it"),
        ("a sentence\tand another", "line 1: 'a sentence' before the tab is no language tag"),
        ("?!", "line 1 has nothing to say"),
    ],
)
def test_unusable_lines_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(IntervoxError, match=message):
        read_texts(write(tmp_path, content.replace("x " * 201, "x " * 200 + "x")))


def test_a_line_of_the_longest_length_is_taken_and_bad_files_are_named(tmp_path: Path) -> None:
    assert len(read_texts(write(tmp_path, "x" * MAX_CHARACTERS))) == 1
    with pytest.raises(IntervoxError, match=r"t\.txt is not UTF-8 text"):
        read_texts(write(tmp_path, "naïve", "latin-1"))
    with pytest.raises(IntervoxError, match=r"absent\.txt is missing"):
        read_texts(tmp_path / "absent.txt")
    for endless in (tmp_path, Path("/dev/zero")):
        with pytest.raises(IntervoxError, match=r"`texts.file` is .*, which is not a file"):
            read_texts(endless)


def test_reserved_texts_are_found_and_words_in_others_are_not(tmp_path: Path) -> None:
    given = [Text(text, "en", "own") for text in ("Yes!", "seven", "7", "seven swans", "a walnut")]
    reserved = reserved_texts(["A walnut."])
    assert [text.text for text in given if text in reserved] == ["Yes!", "seven", "7", "a walnut"]
    assert Text("twee", "nl", "own") in reserved
    assert Text("twee", "en", "own") not in reserved
    path = write(tmp_path, "a gentle evening\nYes!\nseven\n")
    with pytest.raises(
        IntervoxError, match=r"has 2 texts that evaluation protocols test \('Yes!', 'seven'\)"
    ):
        texts(TextSettings(file=path), ["en"], 0)
    assert len(texts(TextSettings(file=path, protocol_texts=True), ["en"], 0)) == 3


def test_contents_of_protocols_at_hand_are_kept_out() -> None:
    settings = TextSettings(count=100, kinds={"word": 1})
    first = texts(settings, ["en"], 0)[0].text
    without = texts(settings.model_copy(update={"reserved": (first.upper(),)}), ["en"], 0)
    assert first not in {text.text for text in without}
    assert len(without) == 100


def test_espeak_spreads_its_voices_over_languages_and_keeps_the_english_ones() -> None:
    english = EspeakEngine(EspeakSettings(voices=320)).voices()
    names = hashlib.sha256("\n".join(voice.name for voice in english).encode()).hexdigest()
    assert names[:16] == "ca080aaa01503329"
    several = EspeakEngine(EspeakSettings(voices=11, languages=("en", "de", "pt-br", "cmn"))).voices()
    assert Counter(voice.language for voice in several) == {"en": 2, "de": 3, "pt-br": 3, "cmn": 3}
    assert len({voice.name.rsplit("/", 1)[1] for voice in several}) == 11
    assert several[2].name.startswith("de+")


@pytest.mark.parametrize(
    ("voices", "languages", "message"),
    [
        (20, ("xx",), "no language 'xx', but for example .*intervox corpus languages"),
        (20, ("en_us",), "for example en-us"),
        (1, ("en", "de"), "2 languages with 1 voices: raise `voices`"),
        (5000, ("de",), "voices in 'de', 5,000 were asked for"),
    ],
)
def test_impossible_voices_are_refused(voices: int, languages: tuple[str, ...], message: str) -> None:
    with pytest.raises(IntervoxError, match=message):
        EspeakEngine(EspeakSettings(voices=voices, languages=languages)).voices()
