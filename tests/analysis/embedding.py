"""Recordings to embed, and `streamer embed` with a small model."""

from streamer.analysis.dataset import read_set
from streamer.commands.embed import EmbedOptions, run_embed
from tests.analysis.made import checkpoint


def embed(paths, out, weights=None, **options):
    run_embed(paths, out, EmbedOptions(model=str(weights or checkpoint()), device="cpu", **options))
    return read_set(out)
