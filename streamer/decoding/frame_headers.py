"""Headers of MPEG audio frames, AAC frames and ID3 tags: how long each is, by its own first bytes."""


def is_id3_tag(head: bytes) -> bool:
    """Return whether `head` begins with an ID3v2 tag: its version, flags, and a size of four 7-bit bytes."""
    return len(head) >= 10 and head[:3] == b"ID3" and head[3] < 0x10 and head[4] == 0 and max(head[6:10]) < 0x80


def id3_tag_bytes(head: bytes) -> int:
    """Return the length of the tag, its header included."""
    return 10 + sum(byte << 7 * (3 - index) for index, byte in enumerate(head[6:10]))


_KBPS = {  # MPEG audio: (version 1, layer) → kbit/s by index; 0: none given, or not allowed
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}


def mpeg_frame_bytes(head: bytes) -> int:
    """Return how long the MPEG audio frame is that begins with `head` (ISO 11172-3, 13818-3); 0 where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)  # version 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    rate_index, padding = head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate_index == 3:
        return 0
    kbps = _KBPS[version == 3, layer][head[2] >> 4]
    rate_hz = (44_100, 48_000, 32_000)[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    if not kbps:
        return 0
    if layer == 1:
        return (12_000 * kbps // rate_hz + padding) * 4
    half_frames = layer == 3 and version != 3  # 576 samples instead of 1,152
    return (72_000 if half_frames else 144_000) * kbps // rate_hz + padding


def adts_frame_bytes(head: bytes) -> int:
    """Return how long the AAC frame is that begins with `head` (ADTS); 0 where none does."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def is_tag_or_padding(packet: bytes) -> bool:
    """Return whether a packet that a decoder refused is a tag or padding, and no audio."""
    return packet[:3] in (b"ID3", b"TAG") or packet[:8] in (b"APETAGEX", b"LYRICSBE") or not packet.strip(b"\0")
