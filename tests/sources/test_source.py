"""The values at the edge of a source."""

import pytest

from streamer.errors import UsageError
from streamer.sources.source import PcmFormat


@pytest.mark.parametrize(("rate_hz", "channels"), [(0, 1), (16_000, 0), (-1, 1)])
def test_pcm_without_a_rate_or_a_channel_is_refused(rate_hz: int, channels: int) -> None:
    with pytest.raises(UsageError, match="both must be above zero"):
        PcmFormat("s16le", rate_hz, channels)
