"""Sound in: microphones, recordings, pipes and network streams, each of which fills one ring from a thread of its own.

May import `audio`, `decoding`, `constants`, `arrays`, `names` and `errors` only: it knows no model, no event and no
configuration. Sound from the network is `address` (the URL), `network` and `sockets` (what opens it), `receiver` (one
attempt) and `reconnect` (the source: attempt after attempt).

Invariants: a source never waits for the reader of its ring, unless it reads with `fast`; a lost device or server is
opened again for ever, and is a gap; no credential is in a name, a status or a log.
"""
