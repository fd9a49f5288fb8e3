"""What a screen reads: the immutable snapshot, the board that collects it, and the feed of `streamer watch`.

May import `events`; it knows no model, no audio and no Textual. Invariants: a snapshot is immutable, and taking one
changes nothing, so any number of screens see the same; no method of the board waits for anything but its own lock; what
a broker does not carry is None and shows as `not sent`.
"""
