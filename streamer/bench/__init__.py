"""Measurements of the whole program and of its parts, by `streamer bench`."""
