"""Notice by the timestamps of decoded frames that audio was lost between two of them."""

RTP_TOLERANCE_S = 0.006  # a lost packet is 10 ms and more; ffmpeg's own timestamps are exact
TOLERANCE_FRAMES = (
    3.0  # of what comes over connections that lose nothing: MPEG-TS is one frame off in its first frames,
)
TOLERANCE_S = 0.1  # and what counts is a segment of HLS that was skipped
OGG_UNSURE_S = 1.0  # joined in the middle, Ogg knows its position from the second page on
LARGEST_JITTER_S = 1.0  # a larger step back is another beginning


class Timestamps:
    """Follows the timestamps of one connection's frames.

    A camera that stamps its packets by the wall clock jitters, and so steps back now and then, which a loss never does:
    such steps widen the tolerance, so that jitter is no loss for long.
    """

    def __init__(self, format_name: str) -> None:
        self._rtp = format_name in ("rtsp", "sdp", "rtp")
        self._unsure_s = OGG_UNSURE_S if "ogg" in format_name else 0.0
        self._jitter_s = 0.0
        self._due_s: float | None = None  # of the next frame if it follows directly

    def breaks(self, time_s: float | None, length_s: float) -> bool:
        """Return whether the frame at `time_s`, of `length_s`, does not follow the frame before it."""
        due_s, self._due_s = self._due_s, None if time_s is None else time_s + length_s
        self._unsure_s -= length_s
        if due_s is None or time_s is None or self._unsure_s > -length_s:
            return False
        off_s = time_s - due_s
        if not self._rtp:
            return abs(off_s) > max(TOLERANCE_FRAMES * length_s, TOLERANCE_S)
        if -LARGEST_JITTER_S < off_s < -RTP_TOLERANCE_S:
            self._jitter_s = max(self._jitter_s, -off_s)
            return False
        return abs(off_s) > RTP_TOLERANCE_S + 2 * self._jitter_s
