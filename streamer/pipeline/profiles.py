"""The voice profiles of a running monitor: read when a stream begins, stored when a voice was learnt."""

import threading
from collections.abc import Callable

from streamer.emotion.enrolment import MeasuredVoice
from streamer.emotion.profile import ProfileError, VoiceProfile, load_profile, profile_of, save_profile
from streamer.feed.board import Board

Learnt = VoiceProfile | ProfileError  # a voice, or why it was not learnt


class ProfileStore:
    """Tells the board what becomes of profiles.

    Args:
        board: takes a line for every profile that is stored or ignored.
        enrolled: is given every voice that was learnt, in the worker's thread, instead of its being stored.
    """

    def __init__(self, board: Board, enrolled: Callable[[Learnt], None] | None = None) -> None:
        self._board = board
        self._enrolled = enrolled or self._keep
        self._keepers: list[threading.Thread] = []
        self._sha256 = ""
        self._wanted = False
        self.ignored: frozenset[str] = frozenset()  # sentences about profiles that cannot be used; replaced as a whole

    def begin(self, checkpoint_sha256: str, *, wanted: bool) -> None:
        """The checkpoint is known now, and whether stored profiles are to be used with it."""
        self._sha256, self._wanted = checkpoint_sha256, wanted

    def mean_of(self, stream: str) -> tuple[float, ...] | None:
        """`[128]` the mean of the stream's voice; None where no profile for this checkpoint is stored, or wanted."""
        if not self._wanted:
            return None
        try:
            profile = load_profile(stream, self._sha256)
        except ProfileError as error:
            self.ignored |= {str(error)}
            self._board.log("note", str(error), stream)
            return None
        return None if profile is None else profile.mean

    def learnt(self, stream: str, voice: MeasuredVoice) -> None:
        """What was heard of a voice, when it was enough or its stream ended. Returns at once."""
        try:
            self._enrolled(profile_of(voice, stream, self._sha256))
        except ProfileError as error:
            self._enrolled(error)

    def close(self) -> None:
        """Wait for the disk."""
        for keeper in self._keepers:
            keeper.join(5.0)

    def _keep(self, learnt: Learnt) -> None:
        if isinstance(learnt, ProfileError):
            self._board.log("note", str(learnt))
            return
        keeper = threading.Thread(target=self._store, args=(learnt,), name="profile keeper", daemon=True)
        keeper.start()  # the disk may be slow
        self._keepers.append(keeper)

    def _store(self, profile: VoiceProfile) -> None:
        try:
            save_profile(profile)
        except ProfileError as error:
            self._board.log("note", str(error), profile.stream)
        else:
            self._board.log("note", f"your voice is stored and in use ({profile.voice_s:.0f} s)", profile.stream)
