"""`streamer info`: show a checkpoint's model card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streamer.commands.options import CHECKPOINTS, Json

if TYPE_CHECKING:
    from streamer.emotion.card import Accuracy, Calibration, CheckpointCard


def info(
    checkpoint: Annotated[str, typer.Argument(help=f"Model: {CHECKPOINTS}.")] = "bundled",
    batch: Annotated[int, typer.Option(min=1, help="Batch size, for the memory estimate.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of each recording, for the memory estimate.")] = 3.0,
    as_json: Json = False,
) -> None:
    """Show a checkpoint's model card.

    Also the encoder's input and output, and the memory that it needs.

    \b
    Examples:
      streamer info
      streamer info my-model.safetensors --json
    """
    import json
    from dataclasses import asdict

    from rich.table import Table

    from streamer.commands.screen import Screen
    from streamer.emotion.checkpoint import MEASURED, load_checkpoint

    loaded = load_checkpoint(checkpoint)
    parameters = sum(tensor.numel() for tensor in loaded.tensors.values())
    profiles = _voice_profiles(loaded.sha256)
    if as_json:
        facts = {"sha256": loaded.sha256, "parameters": parameters, "voice_profiles": profiles}
        print(json.dumps(asdict(loaded.card) | facts, indent=2))
        return
    table = Table(title=f"Model card: {loaded.card.name}", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _card_rows(loaded.card).items():
        table.add_row(name, text)
    table.add_row("parameters", f"{parameters:,}")
    stored = "\n".join(f"{name}: {use}" for name, use in profiles.items())
    table.add_row("voice profiles", stored or "none stored")
    for name, text in _encoder_rows(checkpoint, batch, seconds):
        table.add_row(name, text)
    file = (
        "the checkpoint file" if checkpoint != MEASURED else "the whole checkpoint; shipped is its head, beside bundled"
    )
    table.add_row("sha256", f"{loaded.sha256}\nof {file}")
    Screen().print(table)


def _voice_profiles(checkpoint_sha256: str) -> dict[str, str]:
    """Return each stream with a stored voice profile, and whether this checkpoint can use it."""
    from streamer.emotion.profile import ProfileError, load_profile, stored_names

    uses = {}
    for name in stored_names():
        try:
            profile = load_profile(name, checkpoint_sha256)
        except ProfileError as error:
            uses[name] = str(error)
        else:
            if profile is not None:
                uses[name] = f"in use, from {profile.voice_s:.0f} s of speech on {profile.created[:10]}"
    return uses


def _encoder_rows(path: str, batch: int, seconds: float) -> list[tuple[str, str]]:
    """Return rows on the encoder's input, its output, and the memory for `batch` recordings of `seconds`."""
    from streamer.analysis.embedding_model import load_embedding_model
    from streamer.analysis.facts import fact_rows, model_facts
    from streamer.codec.device import choose_device

    facts = model_facts(load_embedding_model(path), choose_device("auto"), batch_size=batch, seconds=seconds)
    return fact_rows(facts, batch_size=batch, seconds=seconds)[1:]


def _card_rows(card: CheckpointCard) -> dict[str, str]:
    highpass = "" if card.highpass_hz is None else f"high-pass {card.highpass_hz:g} Hz, "
    return {
        "labels": ", ".join(card.labels),
        "front end": f"{card.sample_rate_hz:,} Hz mono, {highpass}level {card.level_target_rms} RMS "
        f"(law {card.level_version})",
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
