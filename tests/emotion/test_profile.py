"""Voice profiles: stored, loaded, and ignored where they cannot be used."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.emotion.enrolment import CollectedSpeech
from streamer.emotion.profile import (
    ProfileError,
    forget_profile,
    load_profile,
    make_profile,
    neutral_offset,
    profile_folder,
    save_profile,
    stored_names,
    stored_profiles,
)

SHA = "ab" * 32
VOICE = CollectedSpeech(20.1, 20.0, 90, -27.5, tuple(np.linspace(-1, 1, 128).tolist()), (0.25,) * 128)
PROFILE = make_profile(VOICE, "desk", SHA)


def test_a_profile_comes_back_as_it_was_kept() -> None:
    path = save_profile(PROFILE)
    assert load_profile("desk", SHA) == PROFILE
    assert stored_names() == ("desk",)
    assert [file.name for file in path.parent.iterdir()] == ["desk.abababababab.json"]


def test_a_new_profile_takes_the_place_of_the_former() -> None:
    save_profile(PROFILE)
    newer = replace(PROFILE, voice_s=31.0)
    save_profile(newer)
    assert load_profile("desk", SHA) == newer


def test_where_nothing_was_stored_there_is_no_profile_and_no_complaint() -> None:
    assert load_profile("desk", SHA) is None
    assert stored_names() == ()


def test_a_stream_has_a_profile_for_each_checkpoint() -> None:
    other = replace(PROFILE, checkpoint_sha256="cd" * 32, voice_s=44.0)
    save_profile(PROFILE)
    save_profile(other)
    assert (load_profile("desk", SHA), load_profile("desk", "cd" * 32)) == (PROFILE, other)
    assert stored_names() == ("desk",)
    assert [one.path.name for one in stored_profiles()] == ["desk.abababababab.json", "desk.cdcdcdcdcdcd.json"]
    forget_profile("desk", SHA)
    assert [one.profile for one in stored_profiles("desk")] == [other]
    with pytest.raises(ProfileError, match="'desk' for this checkpoint; there are profiles of desk"):
        forget_profile("desk", SHA)


def test_a_profile_of_version_0_2_is_used_and_gives_way_to_a_new_one() -> None:
    old = save_profile(PROFILE)
    old.rename(old.with_name("desk.json"))
    assert load_profile("desk", SHA) == PROFILE
    with pytest.raises(ProfileError, match="another checkpoint"):
        load_profile("desk", "cd" * 32)
    save_profile(replace(PROFILE, voice_s=31.0))
    assert [one.path.name for one in stored_profiles()] == ["desk.abababababab.json"]


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
    with pytest.raises(
        ProfileError, match=r"desk\.ab+[ab]*\.json is damaged and is ignored; run `streamer calibrate"
    ) as caught:
        load_profile("desk", SHA)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_reported_with_the_cure(user_data: Path) -> None:
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


def test_the_offset_is_the_speakers_mean_minus_the_neutral_mean() -> None:
    middle = (0.5,) * 128
    assert neutral_offset(middle, middle) == (0.0,) * 128
    assert neutral_offset(VOICE.mean, middle) == pytest.approx([own - 0.5 for own in VOICE.mean])
