"""Optional dependencies: whether they are installed, and how to get them."""

from importlib.util import find_spec

from streamer.errors import UsageError


def require_sklearn(who: str = "kfold and loso need", otherwise: str = "or use --protocol holdout") -> None:
    """Raise UsageError where scikit-learn is missing."""
    if find_spec("sklearn") is None:
        raise UsageError(f"{who} scikit-learn; install streamer[train], {otherwise}.")
