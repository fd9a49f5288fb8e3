"""The voice profiles of a running monitor: enrol speakers, apply their profiles, store them.

The worker calls `VoiceProfiles` where streams begin, end and have a new window, and knows nothing else of the feature.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from streamer.emotion.enrolment import Enrolment
from streamer.emotion.profile import (
    NOT_CALIBRATABLE,
    ProfileError,
    VoiceProfile,
    load_profile,
    make_profile,
    neutral_offset,
    save_profile,
)
from streamer.events import Window
from streamer.feed.snapshot import EnrolmentView
from streamer.pipeline.sink import WorkerSink
from streamer.pipeline.stream import StreamSettings

if TYPE_CHECKING:  # it loads torch
    from streamer.pipeline.inference import Inference
    from streamer.pipeline.windows import WindowResult

EnrolmentResult = VoiceProfile | ProfileError  # a profile, or why there is none


class ProfileStore:
    """The stored profiles for one checkpoint; for any thread.

    Args:
        checkpoint_sha256: profiles of other checkpoints are ignored.
        note: takes the stream and a sentence for every profile that is stored or ignored.
        enabled: whether stored profiles are read at all.
    """

    def __init__(self, checkpoint_sha256: str, note: Callable[[str, str], None], *, enabled: bool = True) -> None:
        self.checkpoint_sha256 = checkpoint_sha256
        self.ignored: frozenset[str] = frozenset()  # sentences about profiles that cannot be used; replaced as a whole
        self._note = note
        self._enabled = enabled
        self._writers: list[threading.Thread] = []

    def mean(self, stream: str) -> tuple[float, ...] | None:
        """Return the neutral mean of the stream's speaker, [128]; None where no usable profile is stored."""
        if not self._enabled:
            return None
        try:
            profile = load_profile(stream, self.checkpoint_sha256)
        except ProfileError as error:
            self.ignored |= {str(error)}
            self._note(stream, str(error))
            return None
        return None if profile is None else profile.mean

    def save(self, profile: VoiceProfile) -> None:
        """Write `profile` in a thread of its own, because the disk may be slow."""
        writer = threading.Thread(target=self._write, args=(profile,), name="profile writer", daemon=True)
        writer.start()
        self._writers.append(writer)

    def close(self) -> None:
        """Wait for the disk."""
        for writer in self._writers:
            writer.join(5.0)

    def _write(self, profile: VoiceProfile) -> None:
        try:
            save_profile(profile)
        except ProfileError as error:
            self._note(profile.stream, str(error))
        else:
            self._note(profile.stream, f"your voice is stored and in use ({profile.voice_s:.0f} s)")


class VoiceProfiles:
    """The voice profiles of a worker's streams.

    `load` and `enrol` are for any thread; everything else is called by the worker, in its thread.

    Args:
        inference: subtracts profiles in its rows, and returns embeddings while a speaker is enrolled.
        settings: of the streams; without a `neutral_mean` no speaker can be enrolled.
        sink: takes the progress of an enrolment.
        store: holds the profiles on disk.
        on_result: receives the result of every enrolment; None: profiles are stored, and failures noted.
    """

    def __init__(
        self,
        inference: "Inference",
        settings: StreamSettings,
        sink: WorkerSink,
        store: ProfileStore,
        on_result: Callable[[EnrolmentResult], None] | None = None,
    ) -> None:
        self.in_use: frozenset[str] = frozenset()  # streams with a profile; replaced as a whole
        self._inference = inference
        self._settings = settings
        self._sink = sink
        self._store = store
        self._on_result = on_result
        self._loaded: dict[str, tuple[float, ...]] = {}  # stream → mean, until the worker attaches it
        self._requests: SimpleQueue[tuple[str, float | None]] = SimpleQueue()
        self._rows: dict[str, int] = {}  # stream → row
        self._enrolments: dict[str, Enrolment] = {}

    def load(self, stream: str) -> None:
        """Read the stored profile of a stream that is about to be added, so that the worker need not touch the disk."""
        mean = self._store.mean(stream)
        if mean is not None:
            self._loaded[stream] = mean

    def enrol(self, stream: str, wanted_s: float | None) -> None:
        """Begin to enrol the speaker on `stream` from `wanted_s` seconds of speech, anew; None: cancel."""
        self._requests.put((stream, wanted_s))

    def take_requests(self) -> None:
        """Begin and cancel the enrolments that were requested since the last call."""
        while True:
            try:
                stream, wanted_s = self._requests.get_nowait()
            except Empty:
                return
            if stream not in self._rows:
                continue  # it was removed, or ended, meanwhile
            if self._settings.neutral_mean is None:
                self._sink.note(stream, NOT_CALIBRATABLE)
            else:
                self._set_enrolment(stream, None if wanted_s is None else Enrolment(wanted_s))

    def attach(self, row: int, stream: str) -> None:
        """Apply the loaded profile of `stream`, which has got `row`."""
        self._rows[stream] = row
        mean = self._loaded.pop(stream, None)
        if mean is not None:
            self._apply(stream, mean)

    def observe(self, stream: str, result: "WindowResult", window: Window) -> bool:
        """Use a new window for the enrolment on `stream`, if there is one; True when a new profile is in use.

        Only full windows of speech count, as those are what a profile is applied to.
        """
        enrolment = self._enrolments.get(stream)
        if enrolment is None:
            return False
        if result.embedding and window.probs and not window.warming:
            moved_s = self._settings.hop_s * (1 + result.skipped)
            enrolment.add(result.embedding, result.speech, moved_s, window.rms_dbfs)
        collected = enrolment.collected()
        self._sink.update(stream, enrolment=EnrolmentView(collected.voice_s, collected.wanted_s))
        if not collected.enough:
            return False
        self._set_enrolment(stream, None)
        self._apply(stream, collected.mean)
        self._finish(stream, enrolment)
        return True

    def detach(self, stream: str) -> None:
        """End the enrolment on `stream`, if there is one: the stream ended, or gives up its row."""
        enrolment = self._enrolments.get(stream)
        if enrolment is not None:
            self._set_enrolment(stream, None)
            self._finish(stream, enrolment)
        self._rows.pop(stream, None)

    def forget(self, stream: str) -> None:
        """Forget the profile of a stream that was removed."""
        self.in_use -= {stream}

    def _set_enrolment(self, stream: str, enrolment: Enrolment | None) -> None:
        if enrolment is None:
            self._enrolments.pop(stream, None)
        else:
            self._enrolments[stream] = enrolment
        self._inference.include_embedding(self._rows[stream], enrolment is not None)
        self._sink.update(stream, enrolment=None if enrolment is None else EnrolmentView(0.0, enrolment.wanted_s))

    def _apply(self, stream: str, mean: tuple[float, ...]) -> None:
        assert self._settings.neutral_mean is not None, "profiles exist only for checkpoints with a neutral mean"
        self._inference.set_profile_offset(self._rows[stream], neutral_offset(mean, self._settings.neutral_mean))
        self.in_use |= {stream}
        self._sink.update(stream, calibrated=True)

    def _finish(self, stream: str, enrolment: Enrolment) -> None:
        """Report the profile of an enrolment, or why there is none."""
        result: EnrolmentResult
        try:
            result = make_profile(enrolment.collected(), stream, self._store.checkpoint_sha256)
        except ProfileError as error:
            result = error
        if self._on_result is not None:
            self._on_result(result)
        elif isinstance(result, ProfileError):
            self._sink.note(stream, str(result))
        else:
            self._store.save(result)
