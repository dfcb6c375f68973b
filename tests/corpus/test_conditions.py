"""Every disturbance against what it promises, and the bank, its labels and severities."""

import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.corpus.acoustics.conditions import Condition, apply_condition, condition_bank, draw_condition
from intervox.corpus.acoustics.disturbances import (
    BURST_PACKETS,
    CODECS,
    PACKET,
    draw_microphone,
    lost_packets,
)
from intervox.corpus.acoustics.rooms import (
    Acoustics,
    draw_room,
    find_noises,
    load_acoustics,
    noise_key,
    room_responses,
)
from intervox.errors import IntervoxError
from intervox.recipe.corpus import CONDITION_BOUNDS, ConditionSettings
from intervox.seeds import rng
from tests.conftest import Speech

FEW_ROOMS = ConditionSettings(rooms=3)
EVERYTHING = ConditionSettings(
    **dict.fromkeys(("padding", "room", "noise", "microphone", "band", "tilt", "clipping", "codec"), 0.5),
    packet_loss=0.5,
    rooms=3,
    count=200,
)
ONE_EACH = {
    "padding": Condition(pad_before=0.1, pad_after=0.2),
    "room": Condition(room=draw_room(0, 1)),
    "noise": Condition(noise="pink", snr_db=10),
    "microphone": Condition(microphone=draw_microphone(0, 1)),
    "band": Condition(band=(300, 3400)),
    "tilt": Condition(tilt=-4.0),
    "clipping": Condition(clipped_share=0.02),
    "packet_loss": Condition(lost_share=0.2),
    "level": Condition(level=-40.0),
    **{f"codec {name}": Condition(codec=name) for name in CODECS},
}


@pytest.fixture(scope="module")
def acoustics(tmp_path_factory: pytest.TempPathFactory) -> Acoustics:
    return load_acoustics(FEW_ROOMS, 0, tmp_path_factory.mktemp("rooms"))


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    """Return a folder with a hum of 1 kHz that pauses for half of its second, and another of 3 kHz."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    (tmp_path / "noises" / "deep").mkdir(parents=True)
    for name, tone in (("a.wav", 1000), ("deep/b.flac", 3000)):
        hum = 0.3 * np.sin(2 * np.pi * tone * time) * (time < 0.5)
        sf.write(tmp_path / "noises" / name, hum, SAMPLE_RATE)
    (tmp_path / "noises" / "README.txt").write_text("no audio")
    return tmp_path / "noises"


def white(seconds: float = 2.0) -> Waveform:
    return np.asarray(0.1 * np.random.default_rng(0).normal(size=round(seconds * SAMPLE_RATE)), np.float32)


def apply(condition: Condition, wave: Waveform | None = None, seed: int = 1) -> Waveform:
    clip = white() if wave is None else wave
    return apply_condition(clip, condition, Acoustics(), np.random.default_rng(seed))


def band_power(wave: Waveform, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    frequency = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    return float(spectrum[(frequency >= low) & (frequency < high)].sum())


def snr_of(clean: Waveform, noisy: Waveform) -> float:
    """Ratio in dB after the best scale of ``clean`` within ``noisy`` is found."""
    speech = clean * (clean @ noisy) / (clean @ clean)
    return float(10 * np.log10((speech @ speech) / np.sum((noisy - speech) ** 2)))


@pytest.mark.parametrize("condition", ONE_EACH.values(), ids=ONE_EACH)
def test_each_disturbance_changes_the_clip_and_nothing_but_padding_its_length(
    condition: Condition, speech: Speech, acoustics: Acoustics
) -> None:
    clip = speech(0.7, 0)
    before = clip.copy()
    changed, again = (apply_condition(clip, condition, acoustics, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(changed, again)
    np.testing.assert_array_equal(clip, before)
    assert changed.dtype == np.float32
    assert len(changed) == len(clip) + round(SAMPLE_RATE * (condition.pad_before + condition.pad_after))
    assert np.isfinite(changed).all()
    assert len(changed) != len(clip) or not np.allclose(changed, clip, atol=1e-4)


def test_a_clean_clip_is_left_alone() -> None:
    np.testing.assert_array_equal(apply(Condition()), white())


@pytest.mark.parametrize("noise", ["white", "pink", "brown", "speech"])
@pytest.mark.parametrize("snr_db", [-5.0, 10.0, 30.0])
def test_noise_has_the_ratio_that_it_is_labelled_with(noise: str, snr_db: float, speech: Speech) -> None:
    clip = speech(4.0, 0)
    assert snr_of(clip, apply(Condition(noise=noise, snr_db=snr_db), clip)) == pytest.approx(snr_db, abs=1.0)


def test_recorded_noise_has_its_ratio_and_comes_from_the_folder(noises: Path, speech: Speech) -> None:
    heard = Acoustics(noises=find_noises(ConditionSettings(noise_folder=noises)))
    condition = Condition(noise="recording", snr_db=0)
    clip, tones = white(1.0), set()
    for seed in range(12):
        noisy = apply_condition(clip, condition, heard, np.random.default_rng(seed))
        assert snr_of(clip, noisy) == pytest.approx(0, abs=1.0)
        tones.add(int(band_power(noisy, 2990, 3010) > band_power(noisy, 990, 1010)))
        # The hum's own pause is left out, so no part of the clip goes without.
        assert all(snr_of(*halves) < 3 for halves in zip(np.split(clip, 4), np.split(noisy, 4), strict=True))
    assert tones == {0, 1}


def test_bands_and_tilts_have_their_edges_and_slopes() -> None:
    banded = apply(Condition(band=(300, 3400)))
    assert band_power(banded, 6000, 8000) < 0.01 * band_power(banded, 500, 2500)
    assert band_power(banded, 0, 100) < 0.01 * band_power(banded, 500, 600)
    edge = band_power(banded, 3350, 3450) / band_power(white(), 3350, 3450)
    middle = band_power(banded, 950, 1050) / band_power(white(), 950, 1050)
    assert 10 * np.log10(edge / middle) == pytest.approx(-3, abs=0.5)
    tilt = apply(Condition(tilt=-3.0))
    # Two octaves apart: 6 dB less power in bands of equal width around 500 and 2000 Hz.
    drop = 10 * np.log10(band_power(tilt, 450, 550) / band_power(tilt, 1950, 2050))
    assert drop == pytest.approx(6.0, abs=1.5)


def test_levels_and_clipping_are_exact() -> None:
    assert np.abs(apply(Condition(level=-20.0))).max() == pytest.approx(0.1, rel=1e-3)
    for share in (0.02, 0.3):
        clipped = apply(Condition(clipped_share=share, level=0.0))
        assert np.mean(np.abs(clipped) >= 0.999) == pytest.approx(share, abs=0.002)


def test_padding_is_silence_that_noise_fills() -> None:
    padded = apply(Condition(pad_before=0.1, pad_after=0.2))
    assert not padded[:1600].any()
    assert not padded[-3200:].any()
    assert apply(Condition(pad_before=0.1, noise="white", snr_db=10))[:1600].std() > 0


def test_lost_packets_have_their_share_and_come_in_bursts() -> None:
    for share in (0.05, 0.2, 0.5):
        lost = np.array(lost_packets(60_000, share, np.random.default_rng(0)))
        assert lost.mean() == pytest.approx(share, abs=0.02)
        bursts = int((np.diff(lost.astype(int)) == 1).sum())
        assert lost.sum() / bursts == pytest.approx(BURST_PACKETS, abs=0.2)
    assert not any(lost_packets(1000, 0.0, np.random.default_rng(0)))


def test_lost_packets_are_silenced_or_repeated_with_a_fade() -> None:
    clip = white(20.0)
    silent = apply(Condition(lost_share=0.2, concealment="silence"), clip).reshape(-1, PACKET)
    gone = ~silent.any(axis=1)
    assert gone.mean() == pytest.approx(0.2, abs=0.05)
    kept = np.corrcoef(silent[~gone].ravel(), clip.reshape(-1, PACKET)[~gone].ravel())[0, 1]
    assert kept == pytest.approx(1.0)
    repeated = apply(Condition(lost_share=0.2, concealment="repeat"), clip).reshape(-1, PACKET)
    first = np.flatnonzero(gone & np.roll(~gone, 1))
    first = first[first > 0]
    np.testing.assert_allclose(repeated[first], 0.5 * repeated[first - 1], atol=1e-6)


def test_telephone_codecs_cut_at_four_kilohertz() -> None:
    for name in ("ulaw", "gsm"):
        coded = apply(Condition(codec=name))
        assert band_power(coded, 4300, 8000) < 0.01 * band_power(coded, 500, 3500)


def test_a_room_smears_what_is_sharp_and_keeps_its_start(acoustics: Acoustics) -> None:
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[1000] = 0.5
    room = draw_room(0, 1)
    heard = apply_condition(click, Condition(room=room), acoustics, np.random.default_rng(0))
    assert not np.abs(heard[:900]).max() > 1e-6
    assert np.abs(heard[1000:1040]).max() == pytest.approx(np.abs(heard).max())
    assert np.square(heard[1100:]).sum() > 1e-3 * np.square(heard).sum()
    assert str(room) == f"room:1(t60={room.t60:.2f}s)"


def test_a_microphone_has_its_response_and_noise() -> None:
    best = replace(draw_microphone(0, 0), severity=0.0)
    assert snr_of(white(), apply(Condition(microphone=best))) > 60
    worst = replace(best, severity=1.0, roll_off=1.0, presence=1.0, presence_hz=4000, ripple=())
    heard = apply(Condition(microphone=worst))
    gain = [band_power(heard, f, f + 40) / band_power(white(), f, f + 40) for f in (100, 1000, 3980)]
    assert 10 * np.log10(gain[1] / gain[0]) == pytest.approx(17, abs=2)
    assert 10 * np.log10(gain[2] / gain[1]) == pytest.approx(9, abs=1)
    assert len({draw_microphone(0, index) for index in range(24)}) == 24


RISING: dict[str, Callable[[float], Condition]] = {
    "noise": lambda x: Condition(noise="white", snr_db=100 - 130 * x),
    "microphone": lambda x: Condition(microphone=replace(draw_microphone(0, 0), severity=x)),
    "band": lambda x: Condition(band=(10 + 3000 * x, 7900 - 4000 * x)),
    "tilt": lambda x: Condition(tilt=-20 * x),
    "clipping": lambda x: Condition(clipped_share=0.5 * x),
    "packet_loss": lambda x: Condition(lost_share=0.5 * x),
    "level": lambda x: Condition(level=-90 * x),
    "room": lambda x: Condition(room=replace(draw_room(0, 0), t60=0.15 + 0.75 * x)),
}


@pytest.mark.parametrize("name", RISING)
def test_severity_rises_within_its_bounds(name: str) -> None:
    found = [RISING[name](x).severities[name] for x in np.linspace(0, 1, 30)]
    assert found == sorted(found)
    assert 0 <= found[0] < 0.15
    assert 0.3 < found[-1] <= 1
    if name in ("noise", "microphone", "tilt", "clipping", "packet_loss", "level"):
        assert (found[0], found[-1]) == (0, 1)


def test_severity_is_that_of_the_worst_disturbance() -> None:
    assert Condition().severity == 0
    assert Condition(pad_before=1.0).severities == {"padding": 0.0}
    both = Condition(tilt=10.0, lost_share=0.1)
    assert both.severities == pytest.approx({"tilt": 0.5, "packet_loss": 0.2})
    assert both.severity == 0.5
    assert sorted(codec.severity for codec in CODECS.values())[-1] == 1
    close = Condition(room=replace(draw_room(0, 0), speaker=(1, 1, 1), microphone=(1, 1, 1.05)))
    assert close.severity < 0.05


def test_the_bank_is_clean_first_distinct_and_the_same_again() -> None:
    bank = condition_bank(ConditionSettings(), 0)
    assert len(bank) == 512
    assert bank[0] == Condition()
    assert len(set(bank)) == len({str(condition) for condition in bank}) == 512
    assert bank == condition_bank(ConditionSettings(clean=0.9), 0)
    assert bank != condition_bank(ConditionSettings(), 1)
    assert pickle.loads(pickle.dumps(bank)) == bank
    assert all(0 <= value <= 1 for condition in bank for value in condition.severities.values())
    noisy = np.mean([condition.noise is not None for condition in bank])
    assert noisy == pytest.approx(0.8, abs=0.06)


def test_a_bank_of_little_choice_is_as_large_as_there_are_conditions() -> None:
    off = ConditionSettings(
        padding=0, room=0, noise=0, band=0, tilt=0, clipping=0, codec=0, level=0, microphone=0, packet_loss=0
    )
    assert condition_bank(off, 0) == [Condition()]
    labels = {str(condition) for condition in condition_bank(off.model_copy(update={"codec": 1.0}), 0)}
    assert labels == {"clean", *(f"codec:{name}" for name in CODECS)}


def test_draws_stay_within_the_recipes_ranges(noises: Path) -> None:
    always = dict.fromkeys(("room", "noise", "microphone", "band", "tilt", "clipping", "codec"), 1.0)
    settings = ConditionSettings(
        **always, packet_loss=1, clean=0, rooms=3, microphones=2, noise_folder=noises, noise_recordings=0.5
    )
    drawn = [draw_condition(settings, np.random.default_rng(seed)) for seed in range(60)]
    assert {condition.room.index for condition in drawn if condition.room} == {0, 1, 2}
    assert {condition.microphone.index for condition in drawn if condition.microphone} == {0, 1}
    assert {condition.noise for condition in drawn} == {"white", "pink", "brown", "speech", "recording"}
    assert {condition.codec for condition in drawn} == set(CODECS)
    for condition in drawn:
        assert settings.snr_db[0] <= condition.snr_db <= settings.snr_db[1]
        assert condition.band is not None
        assert settings.low_hz[0] <= condition.band[0] < condition.band[1] <= settings.high_hz[1]
        assert condition.lost_share is not None
        assert settings.lost_share[0] <= condition.lost_share <= settings.lost_share[1]


def test_new_disturbances_leave_older_draws_as_they_were() -> None:
    old = ConditionSettings(microphone=0, packet_loss=0)
    for seed in range(20):
        before = draw_condition(old, np.random.default_rng(seed))
        after = draw_condition(ConditionSettings(microphone=1, packet_loss=1), np.random.default_rng(seed))
        assert before == replace(after, microphone=None, lost_share=None, concealment="repeat")


def test_evaluations_draw_is_pinned() -> None:
    from intervox.evaluation.loading import DEGRADED
    from intervox.evaluation.test_sets import EVALUATION_SEED

    random = rng(EVALUATION_SEED, "cross_condition.clip", 0)
    drawn = draw_condition(DEGRADED, random, EVALUATION_SEED)
    assert str(drawn) == "room:53(t60=0.86s) noise:speech@12dB band:102-6386Hz level:-8dBFS"


def _disturbed(job: tuple[int, Acoustics, Condition]) -> Waveform:
    seed, acoustics, condition = job
    return apply_condition(white(0.5), condition, acoustics, np.random.default_rng(seed))


def test_samples_do_not_depend_on_process_or_order(noises: Path, tmp_path: Path) -> None:
    settings = EVERYTHING.model_copy(update={"noise_folder": noises})
    acoustics = load_acoustics(settings, 0, tmp_path)
    jobs = [(seed, acoustics, drawn) for seed, drawn in enumerate(condition_bank(settings, 0)[:40])]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        spawned = list(pool.map(_disturbed, jobs))
    for job, wave in zip(reversed(jobs), reversed(spawned), strict=True):
        np.testing.assert_array_equal(wave, _disturbed(job))


def test_rooms_are_simulated_once_and_only_where_asked_for(tmp_path: Path) -> None:
    first = load_acoustics(FEW_ROOMS, 0, tmp_path)
    stored = next(tmp_path.iterdir())
    stamp = stored.stat().st_mtime_ns
    again = load_acoustics(FEW_ROOMS, 0, tmp_path)
    assert stored.stat().st_mtime_ns == stamp
    for one, two in zip(first.rooms, again.rooms, strict=True):
        np.testing.assert_array_equal(one, two)
        assert np.sum(np.square(one)) == pytest.approx(1, abs=1e-3)
    assert load_acoustics(ConditionSettings(room=0), 0, tmp_path / "none").rooms == ()
    assert not (tmp_path / "none").exists()


def test_a_noise_folder_that_is_no_use_says_so(noises: Path, tmp_path: Path) -> None:
    def found(folder: Path) -> list[str]:
        paths = find_noises(ConditionSettings(noise_folder=folder))
        return [path.relative_to(folder).as_posix() for path in paths]

    assert found(noises) == ["a.wav", "deep/b.flac"]
    assert find_noises(ConditionSettings()) == ()
    with pytest.raises(IntervoxError, match="absent is not a folder"):
        found(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntervoxError, match="holds no audio files"):
        found(tmp_path / "empty")
    (noises / "c.mp3").write_text("no audio")
    with pytest.raises(IntervoxError, match=r"c\.mp3 can't be read as audio: take it out"):
        found(noises)


def test_the_key_follows_the_recordings(noises: Path) -> None:
    settings = ConditionSettings(noise_folder=noises)
    before = noise_key(settings)
    assert noise_key(settings) == before
    louder: NDArray[np.float64] = 0.5 * np.ones(SAMPLE_RATE)
    sf.write(noises / "a.wav", louder, SAMPLE_RATE)
    changed = noise_key(settings)
    (noises / "a.wav").rename(noises / "z.wav")
    assert len({before, changed, noise_key(settings), noise_key(ConditionSettings())}) == 4


def test_every_range_has_bounds() -> None:
    fields = ConditionSettings.model_fields
    assert set(CONDITION_BOUNDS) == {
        name for name, field in fields.items() if isinstance(field.default, tuple)
    }


def test_a_bad_recording_is_found_before_anything_is_rendered(noises: Path, tmp_path: Path) -> None:
    settings = ConditionSettings(noise_folder=noises, room=0)
    assert len(load_acoustics(settings, 0, tmp_path).noises) == 2
    for silence in (np.zeros(SAMPLE_RATE), np.append(np.zeros(31 * SAMPLE_RATE), 0.5)):
        sf.write(noises / "c.wav", silence, SAMPLE_RATE)
        with pytest.raises(IntervoxError, match=r"c\.wav is silent.* so it is no noise: take it out"):
            load_acoustics(settings, 0, tmp_path)
    (noises / "c.wav").unlink()
    cut = (noises / "deep" / "b.flac").read_bytes()
    (noises / "deep" / "b.flac").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(IntervoxError, match=r"b\.flac .*take it out of noise_folder"):
        load_acoustics(settings, 0, tmp_path)


def test_the_room_that_a_label_describes_is_the_one_that_is_simulated(tmp_path: Path) -> None:
    for index, response in enumerate(room_responses(3, 5, tmp_path)):
        assert len(response) == int(draw_room(5, index).t60 * SAMPLE_RATE)


@pytest.mark.parametrize("damage", ["empty", "cut", "zeroed", "short"])
def test_a_damaged_bank_of_rooms_is_simulated_again(damage: str, tmp_path: Path) -> None:
    rooms = room_responses(2, 5, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    if damage == "short":
        np.savez(path, rooms[0])
    else:
        path.write_bytes({"empty": b"", "cut": whole[:1000], "zeroed": bytes(len(whole))}[damage])
    for room, again in zip(rooms, room_responses(2, 5, tmp_path), strict=True):
        assert (room == again).all()
    assert path.read_bytes() == whole
