"""Learning: corpora, augmentation, the teacher, training and evaluation. Nothing here is needed to listen."""
