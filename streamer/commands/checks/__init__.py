"""The checks of `streamer doctor`: each tries what `streamer run` will do, and says how it went in a sentence.

`finding` holds what a check returns; `sources` opens and hears the sources, `listening` measures them; `model` loads
the checkpoint and times it; `broker` logs in; `machine` looks at folders, disk, terminal and optional parts.
"""
