"""The speaker-independent evaluation protocols; imports nothing heavy, so that the command line may use it."""

from typing import Literal

# Test speakers of one split; every speaker tested once, in k folds; every speaker tested once, one at a time.
Protocol = Literal["holdout", "kfold", "loso"]
