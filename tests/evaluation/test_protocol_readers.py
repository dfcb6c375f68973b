"""Every reader on a miniature tree of the shape that its corpus is distributed in."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from intervox.clips.manifest import Row
from intervox.errors import IntervoxError
from intervox.evaluation.protocols import Protocol, TrialList, find_protocols
from tests.support.trees import grow

Read = Callable[[str, Mapping[str, str]], Protocol]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Grow a tree and read the protocol of that name from it."""
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path))

    def make(name: str, files: Mapping[str, str]) -> Protocol:
        grow(tmp_path, files)
        (protocol,) = find_protocols((name,))
        return protocol

    return make


def empty(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


def by_name(protocol: Protocol) -> dict[str, Row]:
    return {row.path.name: row for row in protocol.rows}


def named(protocol: Protocol, trials: TrialList) -> list[tuple[bool, str, str]]:
    return [
        (bool(target), protocol.rows[enrol].path.stem, protocol.rows[test].path.stem)
        for target, enrol, test in zip(trials.target, trials.enrol, trials.test, strict=True)
    ]


def test_librispeech(read: Read) -> None:
    home = "LibriSpeech/test-other/1688/142285/1688-142285"
    files = empty(f"{home}-0000.flac", f"{home}-0001.flac", "LibriSpeech/test-other/367/1/367-1-0000.flac")
    files[f"{home}.trans.txt"] = "1688-142285-0000 THERE IS A WALNUT\n1688-142285-0001 YES\n"
    files["LibriSpeech/SPEAKERS.TXT"] = ";ID | SEX | SUBSET\n1688 | M | test-other | 8 | A |B\n"
    rows = by_name(read("librispeech", files))
    first = rows["1688-142285-0000.flac"]
    assert (first.speaker, first.content, first.text) == ("1688", "1688-142285-0000", "THERE IS A WALNUT")
    assert (first.session, first.labels) == ("142285", (("gender", "male"),))
    assert (rows["367-1-0000.flac"].text, rows["367-1-0000.flac"].labels) == ("", ())


def test_voxceleb(read: Read) -> None:
    files = empty(
        "voxceleb1/test/wav/id10270/x6uYqmx31kE/00001.wav",
        "voxceleb1/test/wav/id10270/8jEAjG6SegY/00008.wav",
        "voxceleb1/test/wav/id10300/ize_eiCFEg0/00003.wav",
        "voxceleb1/dev/wav/id10001/1zcIwhmdeo4/00001.wav",
    )
    a, b, c = (
        "id10270/x6uYqmx31kE/00001.wav",
        "id10270/8jEAjG6SegY/00008.wav",
        "id10300/ize_eiCFEg0/00003.wav",
    )
    files["voxceleb1/meta/veri_test2.txt"] = f"1 {a} {b}\n0 {a} {c}\n"
    files["voxceleb1/vox1_meta.csv"] = (
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10270\tEartha_Kitt\tf\tUSA\ttest\n"
    )
    protocol = read("voxceleb1", files)
    assert len(protocol.rows) == 3
    assert named(protocol, protocol.lists["O_cleaned"]) == [
        (True, "00001", "00008"),
        (False, "00001", "00003"),
    ]
    row = by_name(protocol)["00008.wav"]
    assert (row.speaker, row.session, row.split) == ("id10270", "8jEAjG6SegY", "test")
    assert row.labels == (("gender", "female"), ("nationality", "USA"))
    with pytest.raises(
        IntervoxError, match=r"list_test_all2.txt names 1 of 2 clips.*such as id10309/x/1.wav"
    ):
        read("voxceleb1", {"voxceleb1/list_test_all2.txt": f"0 {a} id10309/x/1.wav\n"})
    with pytest.raises(IntervoxError, match="are not those of https://www.robots"):
        read("voxceleb1", {"voxceleb1/vox1_meta.csv": "ID,Gender\nid10270,f\n"})


def test_voices(read: Read) -> None:
    far = "Lab41-SRI-VOiCES-rm1-musi-sp0032-ch021625-sg0003-mc01-stu-clo-dg010"
    near = "Lab41-SRI-VOiCES-src-sp0032-ch021625-sg0003"
    other = "Lab41-SRI-VOiCES-rm2-none-sp0083-ch003054-sg0010-mc12-lav-wal-dg090"
    protocol = read(
        "voices",
        {
            **empty(
                f"VOiCES_devkit/distant-16k/speech/test/rm1/musi/sp0032/{far}.wav",
                f"VOiCES_devkit/distant-16k/speech/train/rm2/none/sp0083/{other}.wav",
                f"VOiCES_devkit/source-16k/test/sp0032/{near}.wav",
                "VOiCES_devkit/distant-16k/distractors/Lab41-SRI-VOiCES-rm1-musi-mc01-stu-clo.wav",
            ),
            "VOiCES_devkit/references/filename_transcripts": f"index,file_name,transcript\n0,{far},hello\n",
            "VOiCES_devkit/sid_dev_lists_and_keys/dev-trial-keys.lst": (
                f"{near} sid_dev/sp0032/{far}.wav tgt\n{near} sid_dev/sp0083/{other}.wav imp\n"
            ),
        },
    )
    rows = by_name(protocol)
    assert len(rows) == 3
    row = rows[f"{far}.wav"]
    assert (row.speaker, row.text, row.split, row.session) == ("0032", "hello", "test", "rm1-musi-mc01")
    assert dict(row.labels)["place"] == "clo"
    assert rows[f"{near}.wav"].content == row.content == "0032-ch021625-sg0003"
    assert rows[f"{near}.wav"].session == "source"
    trials = named(protocol, protocol.lists["challenge_2019_dev"])
    assert trials == [(True, near, far), (False, near, other)]


def test_cnceleb(read: Read) -> None:
    protocol = read(
        "cnceleb",
        {
            **empty(
                "CN-Celeb_flac/eval/enroll/id00800-enroll.flac",
                "CN-Celeb_flac/eval/test/id00800-singing-01-005.flac",
                "CN-Celeb_flac/eval/test/id00801-speech-02-001.flac",
            ),
            "CN-Celeb_flac/eval/lists/enroll.lst": "id00800-enroll enroll/id00800-enroll.wav\n",
            "CN-Celeb_flac/eval/lists/trials.lst": (
                "id00800-enroll test/id00800-singing-01-005.wav 1\n"
                "id00800-enroll test/id00801-speech-02-001.wav 0\n"
            ),
        },
    )
    assert protocol.languages == ("zh",)
    assert named(protocol, protocol.lists["E"]) == [
        (True, "id00800-enroll", "id00800-singing-01-005"),
        (False, "id00800-enroll", "id00801-speech-02-001"),
    ]
    row = by_name(protocol)["id00800-singing-01-005.flac"]
    assert (row.session, row.labels) == ("id00800-singing-01", (("genre", "singing"),))
    assert by_name(protocol)["id00800-enroll.flac"].session == ""


def test_speech_commands_and_its_tasks(read: Read) -> None:
    takes = [
        f"speech_commands_v0.02/{word}/{speaker}_nohash_{take}.wav"
        for word in ("yes", "no", "bird", "cat", "dog")
        for speaker in ("0a7c2a8d", "1b4c9b89")
        for take in range(6)
    ]
    listed = "\n".join(f"{name.split('/', 1)[1]}" for name in takes if "1b4c9b89" in name)
    files = {
        **empty(*takes, "speech_commands_v0.02/_background_noise_/running_tap.wav"),
        "speech_commands_v0.02/testing_list.txt": listed,
        "speech_commands_v0.02/validation_list.txt": "yes/0a7c2a8d_nohash_0.wav\n",
    }
    everything = read("speech_commands", files).rows
    assert len(everything) == 60
    assert {row.split for row in everything if row.speaker == "1b4c9b89"} == {"test"}
    assert sum(row.split == "validation" for row in everything) == 1
    assert len(read("speech_commands_10", files).rows) == 24
    rows = read("speech_commands_12", files).rows
    unknown = [row for row in rows if row.content == "unknown"]
    # 12 commands in test and 11 in train: a tenth of each, rounded up.
    assert sorted(row.split for row in unknown) == ["test", "test", "train", "train"]
    assert {row.text for row in unknown} <= {"bird", "cat", "dog"}
    assert rows == read("speech_commands_12", files).rows


def test_audiomnist(read: Read) -> None:
    meta = (
        '{"01": {"accent": "German", "age": 30, "gender": "male", "native speaker": "no", '
        '"origin": "Europe, Germany", "recordingdate": "17-06-22-11-04-28", "recordingroom": "Kino"}}'
    )
    files = empty(
        "AudioMNIST/data/01/0_01_1.wav", "AudioMNIST/data/01/3_01_9.wav", "AudioMNIST/data/02/0_02_1.wav"
    )
    rows = by_name(read("audiomnist", {**files, "AudioMNIST/data/audioMNIST_meta.txt": meta}))
    row = rows["3_01_9.wav"]
    assert (row.speaker, row.content, row.text, row.session) == ("01", "3", "three", "17-06-22-11-04-28")
    assert dict(row.labels) == {"accent": "german", "gender": "male", "native": "no", "room": "Kino"}


def test_vctk(read: Read) -> None:
    home = "VCTK-Corpus-0.92"
    audio = f"{home}/wav48_silence_trimmed"
    rows = by_name(
        read(
            "vctk",
            {
                **empty(*(f"{audio}/p225/p225_00{n}_mic{mic}.flac" for n in (1, 2) for mic in (1, 2))),
                **empty(f"{audio}/p226/p226_001_mic1.flac"),
                f"{home}/txt/p225/p225_001.txt": "Please call Stella.\n",
                f"{home}/txt/p226/p226_001.txt": "Please call Stella.",
                f"{home}/speaker-info.txt": "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\n"
                "p225  23  F    English    Southern  England\np226  22  M    English    Surrey\n",
            },
        )
    )
    assert sorted(rows) == ["p225_001_mic1.flac", "p225_002_mic1.flac", "p226_001_mic1.flac"]
    row = rows["p225_001_mic1.flac"]
    assert row.content == row.text == rows["p226_001_mic1.flac"].content == "Please call Stella."
    assert row.labels == (("accent", "English"), ("gender", "female"))
    assert rows["p225_002_mic1.flac"].content == "p225_002"


def test_cmu_arctic(read: Read) -> None:
    rows = read(
        "cmu_arctic",
        {
            **empty(
                "ARCTIC/cmu_us_slt_arctic/wav/arctic_a0001.wav",
                "ARCTIC/cmu_us_slt_arctic/wav/arctic_a0002.wav",
                "ARCTIC/cmu_us_awb_arctic/wav/arctic_a0001.wav",
            ),
            "ARCTIC/cmu_us_slt_arctic/etc/txt.done.data": (
                '( arctic_a0001 "Author of the danger trail, Philip Steels, etc." )\n'
            ),
        },
    ).rows
    assert [(row.speaker, row.content) for row in rows] == [
        ("awb", "arctic_a0001"),
        ("slt", "arctic_a0001"),
        ("slt", "arctic_a0002"),
    ]
    assert rows[1].text == "Author of the danger trail, Philip Steels, etc."
    assert rows[0].labels == (("accent", "Scottish"), ("gender", "male"))


def test_emotions(read: Read) -> None:
    rows = by_name(
        read("emodb", empty("emodb/wav/03a01Fa.wav", "emodb/wav/03b10Wc.wav", "emodb/wav/16a01N.wav"))
    )
    row = rows["03a01Fa.wav"]
    assert (row.speaker, row.content, row.language) == ("03", "a01", "de")
    assert row.text == rows["16a01N.wav"].text == "Der Lappen liegt auf dem Eisschrank."
    assert row.labels == (("emotion", "happiness"), ("gender", "male"))
    assert rows["16a01N.wav"].labels == (("emotion", "neutral"), ("gender", "female"))
    home = "ravdess/Audio_Speech_Actors_01-24/Actor_"
    files = empty(f"{home}12/03-01-06-02-02-01-12.wav", f"{home}12/03-02-06-01-02-01-12.wav")
    files |= empty(f"{home}01/03-01-01-01-01-01-01.wav", f"{home}01/03-01-01-01-01-02-01.wav")
    rows = by_name(read("ravdess", files))
    assert len(rows) == 3
    row = rows["03-01-06-02-02-01-12.wav"]
    assert (row.speaker, row.text) == ("12", "Dogs are sitting by the door.")
    assert dict(row.labels) == {"emotion": "fear", "intensity": "strong", "gender": "female"}


def test_an4(read: Read) -> None:
    fash, mmxg = "an4/wav/an4_clstk/fash", "an4/wav/an4test_clstk/mmxg"
    protocol = read(
        "an4",
        {
            **empty(f"{fash}/an251-fash-b.sph", f"{fash}/cen1-fash-b.sph", f"{mmxg}/cen8-mmxg-b.sph"),
            "an4/etc/an4_train.transcription": "<s> YES </s> (an251-fash-b)\n<s> G O </s> (cen1-fash-b)\n",
            "an4/etc/an4_test.transcription": "OCTOBER TWENTY FOUR (cen8-mmxg-b)\n",
        },
    )
    rows = {name: (row.speaker, row.content, row.split) for name, row in by_name(protocol).items()}
    assert rows == {
        "an251-fash-b.sph": ("fash", "YES", "train"),
        "cen1-fash-b.sph": ("fash", "G O", "train"),
        "cen8-mmxg-b.sph": ("mmxg", "OCTOBER TWENTY FOUR", "test"),
    }


def test_common_voice(read: Read) -> None:
    header = "client_id\tpath\tsentence\tup_votes\tage\tgender\taccents\tlocale\n"
    first = 'ann\tcommon_voice_de_1.mp3\tEr sagte "ja.\t2\ttwenties\tfemale_feminine\tBayern\tde\n'
    second = "ann\tcommon_voice_de_2\tNein\t2\t\t\t\tde\n"
    third = "bob\tcommon_voice_de_3.mp3\tDoch\t2\t\t\t\tde\n"
    home = "cv-corpus-17.0-2024-03-15/de"
    rows = by_name(
        read(
            "common_voice",
            {
                f"{home}/clips/common_voice_de_1.mp3": "",
                f"{home}/test.tsv": header + first,
                f"{home}/dev.tsv": header + second,
                f"{home}/validated.tsv": header + first + second + third,
            },
        )
    )
    assert {name: row.split for name, row in rows.items()} == {
        "common_voice_de_1.mp3": "test",
        "common_voice_de_2.mp3": "validation",
        "common_voice_de_3.mp3": "",
    }
    row = rows["common_voice_de_1.mp3"]
    assert (row.speaker, row.content, row.language) == ("ann", 'Er sagte "ja.', "de")
    assert dict(row.labels) == {"gender": "female", "age": "twenties", "accent": "Bayern"}
    with pytest.raises(IntervoxError, match=r"test.tsv lacks the columns client_id: unpack"):
        read("common_voice", {f"{home}/test.tsv": "id\tpath\tsentence\n"})
