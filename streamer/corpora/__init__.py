"""Labelled speech: clips and corpora, speaker-independent splits, augmentation, and the caches of a work folder.

This package may import audio and the card of a checkpoint, but no model, no training and no pipeline; training,
evaluation and analysis import it. Splits divide speakers, never clips, and refuse leakage. Names of cached files
hold digests of reprs: the class `Augmentation` and its fields must not be renamed.
"""
