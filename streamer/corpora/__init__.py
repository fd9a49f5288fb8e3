"""Labelled speech: clips, splits, augmentation and stores."""
