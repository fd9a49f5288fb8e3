"""Voice profiles: what is heard of a voice, what is kept of it, and what becomes of files that are no good."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.emotion.enrolment import CollectedSpeech, Enrolment
from streamer.emotion.profile import (
    ProfileError,
    forget_profile,
    load_profile,
    make_profile,
    neutral_offset,
    profile_folder,
    save_profile,
    stored_names,
)

SHA = "ab" * 32
VOICE = CollectedSpeech(20.1, 20.0, 90, -27.5, tuple(np.linspace(-1, 1, 128).tolist()), (0.25,) * 128)
PROFILE = make_profile(VOICE, "desk", SHA)


def test_the_mean_and_scale_are_those_of_the_windows() -> None:
    windows = np.random.default_rng(0).standard_normal((40, 128))
    enrolment = Enrolment(wanted_s=5.0)
    for window in windows:
        enrolment.add(window.tolist(), speech=0.5, hop_s=0.24, rms_dbfs=-30.0)
    voice = enrolment.collected()
    assert voice.mean == pytest.approx(windows.mean(0).tolist())
    assert voice.scale == pytest.approx(windows.std(0).tolist())
    assert voice.level_dbfs == pytest.approx(-30.0)
    assert voice.windows == 40


def test_seconds_of_speech_are_the_share_of_the_voice_in_the_time_that_passed() -> None:
    enrolment = Enrolment(wanted_s=1.0)
    for speech in (1.0, 1.0, 0.5, 0.5, 1.0):
        assert not enrolment.collected().enough
        enrolment.add((0.0,) * 128, speech, hop_s=0.25, rms_dbfs=-20.0)
    assert enrolment.collected().voice_s == pytest.approx(1.0)
    assert enrolment.collected().enough


def test_a_voice_that_was_never_heard_has_figures_all_the_same() -> None:
    voice = Enrolment().collected()
    assert (voice.voice_s, voice.windows, voice.level_dbfs) == (0.0, 0, -120.0)
    assert set(voice.mean) == set(voice.scale) == {0.0}


def test_a_profile_comes_back_as_it_was_kept() -> None:
    path = save_profile(PROFILE)
    assert load_profile("desk", SHA) == PROFILE
    assert stored_names() == ("desk",)
    assert [file.name for file in path.parent.iterdir()] == ["desk.json"]


def test_a_new_profile_takes_the_place_of_the_former() -> None:
    save_profile(PROFILE)
    newer = replace(PROFILE, voice_s=31.0)
    save_profile(newer)
    assert load_profile("desk", SHA) == newer


def test_where_nothing_was_stored_there_is_no_profile_and_no_complaint() -> None:
    assert load_profile("desk", SHA) is None
    assert stored_names() == ()


def test_too_little_speech_makes_no_profile() -> None:
    with pytest.raises(ProfileError, match=r"Only 3\.2 s of speech .* 20 are needed; speak on"):
        make_profile(replace(VOICE, voice_s=3.2), "desk", SHA)


def test_another_checkpoints_profile_is_refused_with_the_cure() -> None:
    save_profile(PROFILE)
    with pytest.raises(ProfileError, match="another checkpoint and is ignored; run `streamer calibrate --name desk`"):
        load_profile("desk", "cd" * 32)


def damaged() -> dict[str, bytes]:
    whole = json.loads(json.dumps({name: getattr(PROFILE, name) for name in PROFILE.__slots__}))
    return {
        "empty": b"",
        "cut off": json.dumps(whole).encode()[:700],
        "not text": bytes(range(256)),
        "a list": b"[]",
        "too few values": json.dumps(whole | {"mean": [0.0] * 127}).encode(),
        "a word for a number": json.dumps(whole | {"mean": ["x"] * 128}).encode(),
        "not finite": json.dumps(whole | {"mean": [float("nan")] * 128}).encode(),
        "of a later format": json.dumps(whole | {"format": 2}).encode(),
        "without a checkpoint": json.dumps({k: v for k, v in whole.items() if k != "checkpoint_sha256"}).encode(),
    }


@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_file_is_refused_with_one_sentence_and_the_cure(kind: str) -> None:
    save_profile(PROFILE).write_bytes(damaged()[kind])
    with pytest.raises(ProfileError, match=r"desk\.json is damaged and is ignored; run `streamer calibrate") as caught:
        load_profile("desk", SHA)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_told_with_the_cure(user_data: Path) -> None:
    (user_data / "streamer").write_text("a file where the folder should be")
    with pytest.raises(ProfileError, match=r"cannot be written .*; make room or change its permissions"):
        save_profile(PROFILE)


def test_what_is_forgotten_is_gone_and_cannot_be_forgotten_twice() -> None:
    save_profile(PROFILE)
    save_profile(replace(PROFILE, stream="door"))
    forget_profile("desk")
    assert stored_names() == ("door",)
    with pytest.raises(ProfileError, match="no voice profile of 'desk'; there are profiles of door"):
        forget_profile("desk")
    assert profile_folder().is_dir()


def test_the_shift_is_the_whole_way_from_the_middle_to_the_voice() -> None:
    middle = (0.5,) * 128
    assert neutral_offset(middle, middle) == (0.0,) * 128
    assert neutral_offset(VOICE.mean, middle) == pytest.approx([own - 0.5 for own in VOICE.mean])
