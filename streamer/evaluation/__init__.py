"""Measurements of a checkpoint on speakers that it was not trained on: `streamer evaluate`. See README.md in this folder."""
