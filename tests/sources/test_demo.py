"""The bundled recording."""

import numpy as np
import soundfile
import soxr
import torch

from streamer.sources.open import DEMO


def test_it_is_short_small_and_says_what_it_is() -> None:
    with soundfile.SoundFile(DEMO) as file:
        assert 30 <= file.frames / file.samplerate <= 60
        assert "synthetic" in DEMO.name
        assert "Synthetic speech" in file.title
        assert "no human voice" in file.artist
        samples = file.read(dtype="float32")
    assert DEMO.stat().st_size <= 400_000
    assert 0.5 < np.abs(samples).max() < 1.0


def test_most_of_it_is_speech() -> None:
    threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad  # sets torch's threads to 1

        model = load_silero_vad()
        samples, rate_hz = soundfile.read(DEMO, dtype="float32")
        audio = torch.from_numpy(soxr.resample(samples, rate_hz, 16_000))
        with torch.no_grad():
            probabilities = [float(model(frame, 16_000)) for frame in audio.split(512) if len(frame) == 512]
    finally:
        torch.set_num_threads(threads)
    assert np.mean(np.array(probabilities) > 0.5) >= 0.6
