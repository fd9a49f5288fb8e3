"""Audio in: sources, resampling to 24 kHz, the ring buffer, the level normaliser, the meter, voice activity, files.

May import `constants`, `arrays`, `names` and `errors` only: it knows no model, no event and no configuration.
Sound from the network is `address` (the URL), `network` and `sockets` (what opens it), `receiver` (one attempt) and
`reconnect` (the source: attempt after attempt).

Invariants: a source writes one ring from one thread of its own and never waits for the reader, unless it reads with
`fast`; positions count samples at 24 kHz since the stream began and never jump; what was lost is counted exactly, or
announced as a gap; times come from capture clocks and never run backwards. Every recording, played or read whole, goes
through `recording.Recording`, with one policy for defects.
"""
