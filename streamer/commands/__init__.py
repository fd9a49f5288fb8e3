"""The commands: one file each, with its Typer signature, its help and its body; `streamer.cli` lists them.

Beside them stand `options` (shared options), `stderr` (notices), `progress_bars`, `terminal_session` (the dashboard on
the terminal), and the two halves of `bench`. Commands may import every package; no package imports them. Invariants:
importing a command's module imports nothing heavy, so that help and shell completion are quick; options, defaults and
choices are frozen by `tests/commands/surface.json`; an error is one sentence with the cure, and `cli.main` makes it an
exit code.
"""
