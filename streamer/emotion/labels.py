"""The labels of the models that `streamer train` writes."""

#: In the order of a model's logits; RAVDESS numbers its emotions like this, from 01 on.
LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
