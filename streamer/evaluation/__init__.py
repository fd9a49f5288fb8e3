"""Measurements of a checkpoint on held-out speakers: `streamer evaluate`. See README.md in this folder."""
