"""Build from the settings what needs torch: the model on its device, the batch of rows, and their description."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import torch

from streamer import __version__
from streamer.codec.cpu.pack import check_supported
from streamer.codec.device import choose_device
from streamer.constants import SAMPLE_RATE
from streamer.emotion.card import CheckpointCard
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.tracker import ClaimRule, TrackerSettings
from streamer.errors import UsageError
from streamer.events import Info
from streamer.feed.board import Board
from streamer.pipeline.board_sink import BoardSink
from streamer.pipeline.inference import Inference
from streamer.pipeline.memory import return_memory
from streamer.pipeline.profiles import EnrolmentResult, ProfileStore, VoiceProfiles
from streamer.pipeline.stream import StreamSettings
from streamer.pipeline.windows import InferenceSettings
from streamer.pipeline.worker import MAX_HOPS, Worker
from streamer.publish.publisher import Publisher
from streamer.settings import Settings
from streamer.sources.source import Source


@dataclass(slots=True)
class InForce:
    """The settings that a running pipeline follows; replaced as a whole."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The live path of a monitor, ready to run."""

    worker: Worker
    profiles: VoiceProfiles
    store: ProfileStore
    inference: Inference
    in_force: InForce

    def warm_up(self) -> None:
        """Run every shape once, and give back what only loading needed; before the worker runs.

        It takes longer than the first hop of audio, so the sources may have been started.
        """
        self.inference.warm_up(MAX_HOPS)
        self.inference.release_weights()
        return_memory()

    def configure(self, settings: Settings) -> None:
        """Have the thresholds of `settings` from now on; from any thread. All else must be as it was.

        Raises:
            UsageError: they contradict each other.
        """
        each = stream_settings(settings, self.inference.model)
        self.in_force.settings = settings
        self.worker.configure(each, settings.voice.threshold)

    def replace(self, source: Source) -> None:
        """Go on with `source` in place of the stream of its name; from any thread."""
        self.profiles.load(source.name)
        self.worker.replace(source)

    def add(self, source: Source) -> None:
        """Take in one more source, with the stored voice profile of its stream; from any thread."""
        self.profiles.load(source.name)
        self.worker.add(source)


def build_pipeline(
    settings: Settings,
    sources: Sequence[Source],
    board: Board,
    publishers: Sequence[Publisher],
    wake: threading.Event,
    on_enrolled: Callable[[EnrolmentResult], None] | None,
    meters: bool,
) -> Pipeline:
    """Load the model and return the pipeline for `sources`; the board and the publishers learn what is running.

    Args:
        settings: everything else.
        sources: not started.
        board: shows the results.
        publishers: publish the events; already started.
        wake: set by the rings of the sources.
        on_enrolled: receives the result of every enrolment; None: voice profiles are stored.
        meters: put input levels on the board.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        UsageError: the device is not there, or the settings contradict each other.
    """
    inference = build_inference(settings, rows=len(sources), warm=False)
    board.torch_device(str(inference.device))
    each = stream_settings(settings, inference.model)
    store = ProfileStore(
        inference.model.sha256 or "",
        lambda stream, text: board.log("note", text, stream),
        enabled=settings.model.calibration and each.neutral_mean is not None,
    )
    started, in_force = time.time(), InForce(settings)
    sink = BoardSink(
        board,
        publishers,
        lambda names: replace(describe(in_force.settings, inference, names, profiles.in_use), started=started),
        meters,
    )
    profiles = VoiceProfiles(inference, each, sink, store, on_enrolled)
    for source in sources:
        profiles.load(source.name)
    worker = Worker(inference, sources, each, sink=sink, wake=wake, profiles=profiles)
    sink.roster_changed(tuple(source.name for source in sources))
    return Pipeline(worker, profiles, store, inference, in_force)


def build_inference(settings: Settings, rows: int, *, warm: bool = True) -> Inference:
    """Return the model of `settings`, loaded, on its device, with state for `rows` streams, and warmed up if `warm`.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        UsageError: the device is not there, or does not have the precision.
    """
    device = choose_device(settings.model.device)
    check_supported(settings.model.precision, torch.device(device).type)
    torch.set_num_threads(settings.model.threads)
    torch.backends.cudnn.allow_tf32 = False  # convolutions in full float32 on CUDA too, as the encoder promises
    model = EmotionDetectionModel.from_checkpoint(settings.model.checkpoint, settings.window.window_s)
    on_cpu = torch.device(device).type == "cpu"
    if on_cpu:
        model.encoder.precision = settings.model.precision
    windows = InferenceSettings(
        window_frames=settings.window.frames,
        hop_frames=settings.window.hop_frames,
        encoder_dtype=torch.bfloat16 if settings.model.precision == "bfloat16" and not on_cpu else torch.float32,
        vad_threshold=settings.voice.threshold,
        min_speech=settings.voice.min_speech,
        rest=settings.model.rest,
    )
    inference = Inference(model, rows, windows, device=device)
    if warm:
        inference.warm_up(MAX_HOPS)
    return inference


def stream_settings(settings: Settings, model: EmotionDetectionModel) -> StreamSettings:
    """Return the settings of every stream, with `auto` replaced by the checkpoint's values.

    Raises:
        UsageError: the tracker's thresholds contradict each other.
    """
    wanted = settings.tracker
    calibrated = _card(model).calibration_for(settings.window.window_s).threshold
    threshold = calibrated if settings.model.threshold == "auto" else settings.model.threshold
    usual = TrackerSettings.around(threshold)
    try:
        tracker = TrackerSettings(
            enter=usual.enter if wanted.enter == "auto" else wanted.enter,
            exit=usual.exit if wanted.exit == "auto" else wanted.exit,
            smoothing_s=wanted.smoothing_s,
            dwell_s=wanted.dwell_s,
            hang_s=wanted.hang_s,
        )
    except ValueError as error:
        raise UsageError(f"config.toml: [tracker]: {error}") from error
    return StreamSettings(
        labels=model.labels,
        window_frames=settings.window.frames,
        hop_frames=settings.window.hop_frames,
        rule=ClaimRule(threshold, settings.voice.min_speech),
        tracker=tracker,
        neutral_mean=_card(model).neutral_mean,
    )


def describe(settings: Settings, inference: Inference, streams: Sequence[str], calibrated: Collection[str]) -> Info:
    """Return the retained `info` message: what is running, and which streams have a voice profile in use."""
    each = stream_settings(settings, inference.model)
    return Info(
        version=__version__,
        model=_card(inference.model).name,
        model_sha256=inference.model.sha256 or "",
        labels=inference.model.labels,
        sample_rate_hz=SAMPLE_RATE,
        window_s=settings.window.window_s,
        hop_s=settings.window.hop_s,
        streams=tuple(streams),
        calibrated=tuple(name for name in streams if name in calibrated),
        threshold=each.rule.threshold,
        enter=each.tracker.enter,
        exit=each.tracker.exit,
        torch_device=str(inference.device),
        window_every=settings.mqtt.window_every,
        heartbeat_s=settings.mqtt.heartbeat_s,
        health_s=settings.mqtt.health_s,
        clips=settings.record.clips and bool(settings.record.folder),
        rest=settings.model.rest and settings.voice.min_speech > 0,
    )


def _card(model: EmotionDetectionModel) -> CheckpointCard:
    assert model.card is not None, "the pipeline runs only models that were loaded from a checkpoint"
    return model.card
