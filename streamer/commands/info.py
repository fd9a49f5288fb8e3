"""`streamer info`: a checkpoint's model card."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from streamer.emotion.card import Accuracy, Calibration, CheckpointCard
from streamer.emotion.checkpoint import load_checkpoint
from streamer.emotion.profile import ProfileError, load_profile, stored_names


def print_info(path: str, *, batch: int, seconds: float, as_json: bool) -> None:
    """Print the card of the checkpoint at `path`, or of the bundled one, with the memory for `batch` x `seconds`.

    Raises:
        CheckpointError: it cannot be read, or is not what it says it is.
    """
    checkpoint = load_checkpoint(path)
    parameters = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    profiles = _voice_profiles(checkpoint.sha256)
    if as_json:
        facts = {"sha256": checkpoint.sha256, "parameters": parameters, "voice_profiles": profiles}
        print(json.dumps(asdict(checkpoint.card) | facts, indent=2))
        return
    table = Table(title=f"Model card: {checkpoint.card.name}", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(checkpoint.card).items():
        table.add_row(name, text)
    table.add_row("parameters", f"{parameters:,}")
    table.add_row("voices", "\n".join(f"{name}: {what}" for name, what in profiles.items()) or "no profile is stored")
    for name, text in _encoder_facts(path, batch, seconds):
        table.add_row(name, text)
    table.add_row("sha256", checkpoint.sha256)
    Console().print(table)


def _voice_profiles(checkpoint_sha256: str) -> dict[str, str]:
    """Each stream with a stored voice profile, and what it is good for with this checkpoint."""
    said = {}
    for name in stored_names():
        try:
            profile = load_profile(name, checkpoint_sha256)
        except ProfileError as error:
            said[name] = str(error)
        else:
            if profile is not None:
                said[name] = f"in use, from {profile.voice_s:.0f} s of speech on {profile.created[:10]}"
    return said


def _encoder_facts(path: str, batch: int, seconds: float) -> list[tuple[str, str]]:
    """What the encoder takes, gives and needs."""
    from streamer.analysis.embedding_model import load_embedding_model
    from streamer.analysis.facts import fact_rows, model_facts
    from streamer.codec.device import choose_device

    facts = model_facts(load_embedding_model(path), choose_device("auto"), batch_size=batch, seconds=seconds)
    return fact_rows(facts, batch_size=batch, seconds=seconds)[1:]


def _lines(card: CheckpointCard) -> dict[str, str]:
    return {
        "labels": ", ".join(card.labels),
        "front end": f"{card.sample_rate_hz:,} Hz mono, level {card.level_target_rms} RMS (law {card.level_version})",
        "window": f"{card.window_s:g} s every {card.hop_s:g} s",
        "calibration": "\n".join(_calibration(c) for c in card.calibrations),
        "trained on": "\n".join(card.training_data),
        "measured": "\n".join(_accuracy(a) for a in card.accuracy),
        "licence": card.licence,
        "notes": card.notes,
    }


def _calibration(calibration: Calibration) -> str:
    return (
        f"{calibration.window_s:g} s windows: temperature {calibration.temperature:.2f}, "
        f"a label from probability {calibration.threshold:.2f}"
    )


def _accuracy(accuracy: Accuracy) -> str:
    return (
        f"{accuracy.corpus}: {accuracy.metric} {accuracy.value:.2f} (chance {accuracy.chance:.3f}), {accuracy.protocol}"
    )
