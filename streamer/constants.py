"""The rates and defaults that packages share, each with its arithmetic or its reason."""

SAMPLE_RATE = 24_000  # Hz; EnCodec's mono model
FRAME_SAMPLES = 2 * 4 * 5 * 8  # 320 samples a frame: the product of the encoder's strides
FRAME_RATE = SAMPLE_RATE // FRAME_SAMPLES  # 24,000 / 320 = 75 frames a second
STARTUP_FRAMES = 7  # the last convolution (kernel 7, reflect padding) needs seven frames before it can give the first
STARTUP_SAMPLES = STARTUP_FRAMES * FRAME_SAMPLES  # 7 x 320 = 2,240 samples = 93.3 ms, once at the start of a stream
DEFAULT_WINDOW_S = 3.0  # 225 frames; `window.window_s` of config.toml
DEFAULT_HOP_S = 0.24  # 18 frames, 5,760 samples; `window.hop_s` of config.toml
# The [tracker] table of config.toml; chosen on validation speakers' streams (training/HISTORY.md, 1 December 2026).
DEFAULT_SMOOTHING_S = 0.3
DEFAULT_DWELL_S = 0.5
DEFAULT_HANG_S = 3.0  # a window's length
EMBEDDING_DIM = 128  # channels of an EnCodec embedding
POOLED_DIM = 5 * EMBEDDING_DIM  # a pooled window: mean, deviation, and movement over three spans, of each channel
