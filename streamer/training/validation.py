"""Decide by held-out speakers: early stopping, temperature scaling and the confidence threshold."""

from collections.abc import Sequence

from streamer.emotion.card import Calibration
from streamer.training.predict import Predictions
from streamer.training.temperature import choose_threshold, fit_temperature, probabilities

WINDOWS_S = (1.0, 2.0, 3.0, 5.0)  # window lengths that are calibrated


def calibrate_windows(predictions: Sequence[Predictions]) -> tuple[Calibration, ...]:
    """Calibrate each of WINDOWS_S by the predictions for windows of that length."""
    return tuple(calibrate(of_length, window_s) for of_length, window_s in zip(predictions, WINDOWS_S, strict=True))


def calibrate(predictions: Predictions, window_s: float) -> Calibration:
    """Fit the temperature and choose the threshold for windows of one length, from validation speakers.

    Both use the corpora's label masks, since a corpus without surprise cannot tell how likely surprise is. A live
    window's probabilities spread over all labels, so somewhat fewer of them reach the threshold.
    """
    temperature = fit_temperature(predictions.logits, predictions.targets)
    probs = probabilities(predictions.logits, temperature)
    threshold = choose_threshold(probs, predictions.targets)
    return Calibration(window_s=window_s, temperature=round(temperature, 4), threshold=threshold)
