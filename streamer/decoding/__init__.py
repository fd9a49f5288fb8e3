"""Recordings to samples: any container and codec that FFmpeg's libraries decode, through one reader with one policy.

May import `audio`, `constants`, `arrays` and `errors` only; `run`, `embed`, `train` and `evaluate` all read with it.

Invariants: all that can be decoded is returned, whatever a header says; what cannot be is counted, and said in one
sentence; samples are finite and within full scale.
"""
