"""From corpora to a checkpoint: `streamer train`."""

import math
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from streamer.constants import FRAME_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import talkers_of
from streamer.corpora.corpus import Corpus, clips_of
from streamer.corpora.speed_versions import SpeedVersions
from streamer.corpora.splits import Split, check_no_leakage, pin_known_speakers, split_speakers
from streamer.emotion.labels import LABELS
from streamer.errors import StreamerError, UsageError
from streamer.extras import require_sklearn
from streamer.progress import Log, Progress
from streamer.training.batches import AudioWindows, EpochBatches, StemWindows, Windows, draw_epoch
from streamer.training.descriptors import DescriptorStore
from streamer.training.export import export_checkpoint
from streamer.training.head import LONGEST_S, TOLD, PooledWindows, PoolingPlan, fit_head, pool_windows, pooled_store
from streamer.training.neutral_mean import neutral_mean
from streamer.training.optim import cosine_with_warmup, optimizers_for
from streamer.training.predict import ClipEncoder, LoadClips, Predictions, load_audio, load_stems
from streamer.training.recipe import Recipe
from streamer.training.run_folder import BEST, STATE, RunState, begin, require_all_parts, resumed
from streamer.training.stems import StemStore
from streamer.training.student import Student, batch_losses, initial_model
from streamer.training.teacher import WhisperTeacher
from streamer.training.teacher_targets import COMPONENTS, TeacherStore
from streamer.training.validation import evaluate_model, is_over, score

_WARM_UP_STEPS = 100
_LAST_RATE = 0.02  # of the peak, at the end of the cosine


class Trainer:
    """One training run in one work folder.

    The folder holds `recipe.json`, `split.json`, `log.txt`, `state.pt` (to resume), `best.pt` and the stores of audio,
    of the teacher's answers and of features; the stores serve later runs in the same folder too.

    Args:
        corpora: what to learn from.
        recipe: how.
        work: the folder; made if it is not there.
        resume: go on where a run in this folder stopped, with its recipe and split; otherwise begin anew.
        device: where to compute.
        log: takes one line at a time.
        workers: processes that cut and change windows; 0 does it in between. A GPU waits for fewer than its machine has.
        split: who is trained on; None: drawn from the recipe's seed, but those whom the model to start from has heard
            keep their part. A run that is resumed keeps its own.

    Raises:
        UsageError: there is nothing to resume or it is damaged, other corpora were learnt from, a corpus is too small to
            split, the split has nobody of it in a part, or tests somebody whom the model to start from has heard.
        CheckpointError: the model to start from cannot be read.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        recipe: Recipe,
        work: Path,
        resume: bool,
        device: torch.device,
        log: Log,
        workers: int = 0,
        split: Split | None = None,
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.corpora, self.work, self.device, self.workers = corpora, work, device, workers
        self._log = log
        if resume:
            recipe, split = resumed(corpora, work)
        self.recipe = recipe
        self.dtype = training_dtype(device)
        torch.manual_seed(recipe.seed)
        model = initial_model(recipe.start, len(LABELS))
        self.origin = model.card
        known = None if self.origin is None else self.origin.speakers
        self.split = split or pin_known_speakers(split_speakers(corpora, recipe.seed), known, "train")
        check_no_leakage(self.split, known, recipe.start)
        require_all_parts(corpora, self.split)
        self.student = Student(model, COMPONENTS, len(corpora), self.recipe.tune, self.recipe.dropout).to(device)
        if tuple(self.student.model.labels) != LABELS:
            raise UsageError(
                f"{self.recipe.start} names other labels than {', '.join(LABELS)}; start from another checkpoint."
            )
        average = get_ema_multi_avg_fn(self.recipe.averaging)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.student, multi_avg_fn=average)
        self.optimizers = optimizers_for(self.student, self.recipe, self.dtype)
        self.state = RunState()
        if resume:
            self._restore()
        else:
            begin(corpora, recipe, work, self.split)

    @property
    def kept(self) -> Student:
        """The mean of the weights over the last steps: what is validated and kept."""
        module = self.averaged.module
        assert isinstance(module, Student)
        return module

    def run(self, output: Path, progress: Progress[Any]) -> Path:
        """Train until validation says that it is over, then write the checkpoint.

        `prepare` comes before.

        Returns:
            `output`.
        """
        while not is_over(self.recipe, self.state):
            began = time.monotonic()
            loss = self._epoch(began, progress)
            reached, heard = score(self)
            self.state.epoch += 1
            self.state.seconds += time.monotonic() - began
            if better := reached > self.state.best or not self.recipe.patience:
                self.state.best, self.state.best_epoch = reached, self.state.epoch
                torch.save(self.kept.model.state_dict(), self.work / BEST)
            self._save()
            mark = "  best" if better and self.recipe.patience else ""
            self._say(f"epoch {self.state.epoch}  loss {loss}{heard}  {self.state.seconds:.0f} s{mark}")
        best = torch.load(self.work / BEST, map_location=self.device, weights_only=True)
        self.kept.model.load_state_dict(best)
        if self.recipe.settling:
            fit_head(self.kept.model, self._pool(progress), self.recipe.settling, self.recipe.seed)
            self._say(f"classifier settled in {self.recipe.settling} steps{score(self)[1]}")
        model, balanced_mean = self.kept.model, self._neutral_mean()
        return export_checkpoint(
            model, self.corpora, self.origin, evaluate_model(self), self.split, balanced_mean, output, self._say
        )

    def _pool(self, progress: Progress[Any]) -> PooledWindows:
        """Windows of the training speakers for the classifier to learn anew from."""
        recipe, model = self.recipe, self.kept.model
        frames = round(LONGEST_S * FRAME_RATE)
        windows = Windows(self.corpora, self._inputs, None, TOLD, frames, delay_s=0.0)
        store = pooled_store(self.work, model, recipe, self._learning, talkers_of(self._learning))
        plan = PoolingPlan(recipe.seed, recipe.non_speech)
        return pool_windows(self.encoder, windows, self._learning, plan, store, progress)

    @property
    def encoder(self) -> ClipEncoder:
        """Encodes whole clips with the kept weights."""
        return ClipEncoder(self.kept.model, self._load, self._to_frames)

    def validate(self, windows_s: Sequence[float | None] = (None,)) -> list[Predictions]:
        """What the model says of the validation speakers' clips, for each length of window."""
        clips = self.split.select(clips_of(self.corpora), "validation")
        return self.encoder.predict_windows(self.corpora, clips, windows_s)

    def test(self, windows_s: Sequence[float | None] = (None,)) -> list[Predictions]:
        """What the model says of the test speakers' clips. For the card; nothing may be chosen by it."""
        clips = self.split.select(clips_of(self.corpora), "test")
        return self.encoder.predict_windows(self.corpora, clips, windows_s)

    def _neutral_mean(self) -> tuple[float, ...] | None:
        """For the card: what voice profiles are set against, from the clips that were learnt from."""
        return neutral_mean(self.encoder, self._learning)

    def _to_frames(self, inputs: Tensor) -> Tensor:
        return self.kept.frames(inputs, self.dtype)

    def prepare(self, progress: Progress[Any]) -> None:
        """Compute what the work folder does not hold yet.

        Raises:
            StreamerError: a recording cannot be read, or the teacher cannot be had.
        """
        recipe, clips, model = self.recipe, clips_of(self.corpora), self.student.model
        learning = self.split.select(clips, "train")
        audio = AudioStore(self.work)
        audio.prepare(clips, progress)
        voices = SpeedVersions(audio, 1 if recipe.tune == "all" else recipe.versions, recipe.seed, recipe.augmentation)
        teacher = None
        if recipe.teacher is not None:
            require_sklearn("A teacher's opinions need", "or leave it out with --no-teacher")
            asked = WhisperTeacher.load(recipe.teacher).to(self.device)
            teacher = TeacherStore(self.work, [corpus.name for corpus in self.corpora], asked, learning, voices)
            teacher.prepare(recipe.seed, progress)
        self._load: LoadClips
        descriptors = None
        if recipe.weights.descriptors:
            descriptors = DescriptorStore(self.work)
            descriptors.prepare(learning, audio, recipe.seed, progress)
        talkers = talkers_of(learning)
        inputs: AudioWindows | StemWindows
        if recipe.tune == "all":
            inputs = AudioWindows(audio, recipe.augmentation, talkers, model.highpass_hz)
            self._load = load_audio(audio, model.highpass_hz)
        else:
            encoder = model.encoder
            stems = StemStore(self.work, model, voices, self.student.cut, recipe.seed, recipe.augmentation, talkers)
            others = self.split.select(clips, "validation") + self.split.select(clips, "test")
            noises = math.ceil(recipe.non_speech * len(learning))
            stems.prepare(encoder, learning, others, noises, self.dtype, progress)
            inputs, self._load = StemWindows(stems, noises), load_stems(stems)
        frames = round(recipe.window_s * FRAME_RATE)
        self._windows = Windows(self.corpora, inputs, teacher, recipe.softness, frames, recipe.delay_s, descriptors)
        self._learning, self._inputs = learning, inputs

    def _epoch(self, began: float, progress: Progress[Any]) -> str:
        """One pass over the training speakers; the mean losses as text."""
        recipe = self.recipe
        # The draws depend on the epoch alone: a resumed run goes on as if it had not stopped.
        epoch_seed = [recipe.seed, self.state.epoch]
        torch.manual_seed(recipe.seed + self.state.epoch)
        keys = draw_epoch(self._learning, recipe.non_speech, np.random.default_rng(epoch_seed))
        batches = EpochBatches(self._windows, keys, recipe.batch_size, epoch_seed)
        loader = DataLoader(batches, batch_size=None, num_workers=self.workers)
        self.student.train()
        counted = recipe.weights
        weights = torch.tensor(
            [counted.frames, counted.descriptors, counted.utterance, counted.opinions, counted.labels]
        ).to(self.device)
        totals = torch.zeros(5)
        for number, drawn in zip(progress(range(len(batches)), f"epoch {self.state.epoch + 1}"), loader, strict=True):
            batch = drawn.to(self.device)
            self._set_rates((self.state.epoch + number / len(batches)) / recipe.epochs, time.monotonic() - began)
            losses = batch_losses(self.student, batch, self.dtype, recipe.mixup)
            loss = losses @ weights
            if not torch.isfinite(loss):
                raise StreamerError(
                    "Training diverged: the loss is not finite; train again with a lower learning rate."
                )
            self.student.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.averaged.update_parameters(self.student)
            self.state.steps += 1
            totals += losses.detach().cpu()
        frames, descriptors, utterance, opinions, labels = (totals / len(batches)).tolist()
        taught = f"teacher {frames:.3f} {utterance:.3f} {opinions:.3f}  " if recipe.teacher else ""
        described = f"descriptors {descriptors:.3f}  " if recipe.weights.descriptors else ""
        return f"{taught}{described}labels {labels:.3f}"

    def _set_rates(self, progress: float, epoch_s: float) -> None:
        """Over epochs or minutes, which end first."""
        if self.recipe.minutes is not None:
            progress = max(progress, (self.state.seconds + epoch_s) / (60 * self.recipe.minutes))
        scale = cosine_with_warmup(self.state.steps, _WARM_UP_STEPS, progress, _LAST_RATE)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * scale

    def _save(self) -> None:
        partial = self.work / f"{STATE}.part"
        torch.save(
            {
                "student": self.student.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "state": vars(self.state),
            },
            partial,
        )
        partial.replace(self.work / STATE)

    def _restore(self) -> None:
        path = self.work / STATE
        if not path.is_file():
            return  # it was cut off before the first epoch's end
        try:
            stored = torch.load(path, map_location=self.device, weights_only=True)
            self.student.load_state_dict(stored["student"])
            self.averaged.load_state_dict(stored["averaged"])
            for optimizer, values in zip(self.optimizers, stored["optimizers"], strict=True):
                optimizer.load_state_dict(values)
            self.state = RunState(**stored["state"])
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path} is damaged or of another version; leave --resume out.") from error

    def _say(self, line: str) -> None:
        self._log(line)
        with (self.work / "log.txt").open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def training_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA and on processors that multiply it (AVX512_BF16), float32 elsewhere."""
    if device.type == "cuda":
        return torch.bfloat16
    fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
