"""Voice profiles: a speaker's mean embedding of neutral speech, stored in the user's data folder.

A profile is a few kilobytes of JSON in a file named by stream and checkpoint, `desk.1f2e3d4c5b6a.json`. It belongs to
the checkpoint that computed it, since the embeddings of one encoder mean nothing to another; a stream may have profiles
of several. Version 0.2 named the file by the stream alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import Field, TypeAdapter, ValidationError

from streamer.emotion.card import Embedding, Finite, Text
from streamer.emotion.enrolment import CollectedSpeech
from streamer.errors import StreamerError
from streamer.replacing import replacing

NOT_CALIBRATABLE = (
    "This checkpoint has no average of neutral speech, so voice profiles cannot be used with it; "
    'use checkpoint = "bundled", or train again.'
)
_FORMAT = 1


class ProfileError(StreamerError):
    """A voice profile cannot be made or used; the message is one sentence with the cure."""


@dataclass(frozen=True, slots=True)
class VoiceProfile:
    """The neutral speech of one stream's speaker, as embedded by one checkpoint."""

    format: Annotated[int, Field(ge=_FORMAT, le=_FORMAT)]
    stream: Text
    checkpoint_sha256: Text
    created: Text  # ISO 8601, UTC
    voice_s: Finite  # seconds of speech it was computed from
    windows: int
    level_dbfs: Finite  # mean power of that speech as it came in
    mean: Embedding  # of the windows' attentive means
    scale: Embedding  # their standard deviation


_ADAPTER = TypeAdapter(VoiceProfile)


def make_profile(speech: CollectedSpeech, stream: str, checkpoint_sha256: str) -> VoiceProfile:
    """Return the profile of an enrolment, dated now.

    Raises:
        ProfileError: too little speech was collected.
    """
    if not speech.enough:
        raise ProfileError(
            f"Only {speech.voice_s:.1f} s of speech were collected on {stream} and {speech.wanted_s:g} are needed; "
            "speak on for longer, nearer to the microphone, or ask for less with --seconds."
        )
    return VoiceProfile(
        format=_FORMAT,
        stream=stream,
        checkpoint_sha256=checkpoint_sha256,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        voice_s=speech.voice_s,
        windows=speech.windows,
        level_dbfs=speech.level_dbfs,
        mean=speech.mean,
        scale=speech.scale,
    )


def neutral_offset(mean: Sequence[float], neutral_mean: Sequence[float]) -> tuple[float, ...]:
    """Return the profile offset [128]: what is subtracted from the attentive mean of a speaker's windows.

    Half of the windows that a classifier is trained on have it subtracted too (`streamer.training.head`).

    Args:
        mean: of the speaker's own neutral speech.
        neutral_mean: the checkpoint's, of the neutral speech of its training speakers.
    """
    return tuple(own - usual for own, usual in zip(mean, neutral_mean, strict=True))


def profile_folder() -> Path:
    """Return the folder of the profiles (`~/.local/share/streamer/voices` on Linux)."""
    return platformdirs.user_data_path("streamer") / "voices"


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A file among the profiles."""

    path: Path
    stream: str
    profile: VoiceProfile | None  # None: the file is damaged


def save_profile(profile: VoiceProfile) -> Path:
    """Write the profile of a stream, replacing an older one of the same checkpoint, and return its path.

    Raises:
        ProfileError: it cannot be written.
    """
    path = _path(profile.stream, profile.checkpoint_sha256)
    former = [one.path for one in stored_profiles(profile.stream) if _is_of(one, profile.checkpoint_sha256)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(_ADAPTER.dump_json(profile))
        for old in former:
            if old != path:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise ProfileError(
            f"The voice profile {path} cannot be written ({error.strerror}); make room or change its permissions."
        ) from error
    return path


def load_profile(stream: str, checkpoint_sha256: str) -> VoiceProfile | None:
    """Return the stored profile of a stream for a checkpoint; None where the stream has none at all.

    Raises:
        ProfileError: there is one, but it is damaged or belongs to another checkpoint.
    """
    cure = f"run `streamer calibrate --name {stream}` again, or remove it with `streamer calibrate --forget {stream}`"
    own = _path(stream, checkpoint_sha256)
    if own.exists():
        profile = _read(own, cure)
        if profile.checkpoint_sha256 == checkpoint_sha256:
            return profile
    others = [one.path for one in stored_profiles(stream) if one.path != own]
    for path in others:
        profile = _read(path, cure)
        if profile.checkpoint_sha256 == checkpoint_sha256:
            return profile
    if others or own.exists():
        raise ProfileError(f"The voice profile of {stream} was made with another checkpoint and is ignored; {cure}.")
    return None


def stored_profiles(stream: str | None = None) -> tuple[StoredProfile, ...]:
    """Return every stored profile, or those of one stream, sorted by their files' names."""
    found = []
    for path in sorted(profile_folder().glob("*.json")):
        if stream is None or path.name.partition(".")[0] == stream:
            try:
                profile: VoiceProfile | None = _ADAPTER.validate_json(path.read_bytes(), strict=True)
            except (OSError, ValidationError):
                profile = None
            found.append(StoredProfile(path, path.name.partition(".")[0], profile))
    return tuple(found)


def stored_names() -> tuple[str, ...]:
    """Return the names of the streams that have a stored profile."""
    return tuple(sorted({path.name.partition(".")[0] for path in profile_folder().glob("*.json")}))


def forget_profile(stream: str, checkpoint_sha256: str | None = None) -> None:
    """Remove the stored profiles of a stream; with a checkpoint the one of that checkpoint alone.

    Raises:
        ProfileError: there is none, or it cannot be removed.
    """
    paths = [one.path for one in stored_profiles(stream) if checkpoint_sha256 is None or _is_of(one, checkpoint_sha256)]
    if not paths:
        there = ", ".join(stored_names())
        known = f"there are profiles of {there}" if there else "there are no profiles at all"
        which = "" if checkpoint_sha256 is None else " for this checkpoint"
        raise ProfileError(f"There is no voice profile of {stream!r}{which}; {known}.")
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ProfileError(
                f"The voice profile {path} cannot be removed ({error.strerror}); change its permissions."
            ) from error


def _read(path: Path, cure: str) -> VoiceProfile:
    try:
        return _ADAPTER.validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise ProfileError(
            f"The voice profile {path} cannot be read ({error.strerror}) and is ignored; {cure}."
        ) from error
    except ValidationError as error:
        raise ProfileError(f"The voice profile {path} is damaged and is ignored; {cure}.") from error


def _is_of(stored: StoredProfile, checkpoint_sha256: str) -> bool:
    if stored.profile is not None:
        return stored.profile.checkpoint_sha256 == checkpoint_sha256
    return stored.path == _path(stored.stream, checkpoint_sha256)


def _path(stream: str, checkpoint_sha256: str) -> Path:
    return profile_folder() / f"{stream}.{checkpoint_sha256[:12]}.json"
