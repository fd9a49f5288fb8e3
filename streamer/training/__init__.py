"""Train a model, from corpora to a checkpoint. README.md has the recipe, the commands and the invariants."""
