"""Measurements of the whole program and of its parts: `streamer bench`. See README.md in this folder."""
