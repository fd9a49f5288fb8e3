"""Audio as a signal: the ring buffer, resampling to 24 kHz, downmix, high-pass, level normaliser, meter, VAD, clocks.

May import `constants`, `arrays` and `errors` only: it knows no device, no file, no model and no event.

Invariants: positions count samples at 24 kHz since the stream began and never jump; what was lost is counted exactly,
or announced as a gap; times come from capture clocks and never run backwards. Filters and normalisers are causal, and
give the same for any chunking.
"""
