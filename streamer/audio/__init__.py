"""Sound in: sources, resampling, the ring, level, voice activity."""
