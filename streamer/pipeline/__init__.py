"""The live path: audio chunks to events.

`hearing` levels the audio of a batch of rows and detects voices in it; `inference` encodes it and classifies `windows`;
`stream` holds one stream's tracker and counters; `worker` is the loop that joins them; `profiles` enrols speakers;
`sink` says where results go, and `board_sink` is a monitor's; `build` makes all that from the settings. `blocks` has
what rows pass through together, `broker_view` what a board shows of publishers.

May import `feed`, `publish`, `emotion`, `codec`, `audio` and the shared modules; only `board_sink`, `broker_view` and
`build` know the board and the publishers. Invariants: one thread owns the model and all streams, and waits for nothing
but audio; every sample is encoded at most once, and what is not encoded is counted; after a gap a row's state is reset.
Modules that load torch are imported inside functions, because the screen is up before torch is loaded.
"""
