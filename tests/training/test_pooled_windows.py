from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from streamer.constants import EMBEDDING_DIM, FRAME_RATE
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.training.batches import Windows
from streamer.training.head import PooledWindows
from streamer.training.losses import Softness
from streamer.training.neutral_mean import neutral_offsets
from streamer.training.pooled_windows import (
    DRAWS,
    SHORTEST_S,
    PoolingPlan,
    pool_windows,
    pooled_store,
    random_cuts,
)
from streamer.training.predict import ClipEncoder
from streamer.training.recipe import Recipe
from streamer.training.windows import Cut


@pytest.mark.parametrize("frames", [[1, 2], [40, 300], [300, 300, 299]])
def test_a_cut_lies_in_its_row_and_is_no_shorter_than_the_shortest_or_the_row(frames: list[int]) -> None:
    real = torch.arange(max(frames)) < torch.tensor(frames)[:, None]
    rng = np.random.default_rng(0)
    for _ in range(20):
        cut = random_cuts(real, rng)
        assert not (cut & ~real).any()
        shortest = torch.clamp(real.sum(1), max=round(SHORTEST_S * FRAME_RATE))
        assert (cut.sum(1) >= shortest).all()
        assert (torch.diff(cut.int(), dim=1) == 1).sum(1).le(1).all()  # one stretch


class Features:
    """Windows of which every value is known: frames themselves in place of audio."""

    def cut(self, key: str, frames: int, rng: np.random.Generator) -> Cut:
        name = key.removeprefix("made/").removesuffix(".wav")
        value = 9.0 if not name else float(name.split("-")[1])
        return Cut(np.full((frames, EMBEDDING_DIM), value, np.float32), key, 0.0, 1.0)

    def collate(self, rows: list[npt.NDArray[np.float32]]) -> tuple[Tensor, list[int]]:
        return torch.from_numpy(np.stack(rows)), [len(row) for row in rows]


def made_clips() -> list[Clip]:
    """Six speakers who say neutral and happy alike; their number is what every frame of theirs holds."""
    kinds = [("neutral", number) for number in range(6)] + [("happy", number) for number in range(6)] * 2
    return [
        Clip(Path(f"{label}-{number}-{place}.wav"), "made", label, str(number))
        for place, (label, number) in enumerate(kinds)
    ]


def load(some: Sequence[Clip]) -> tuple[Tensor, list[int]]:
    """Whole clips."""
    return torch.stack([torch.full((200, EMBEDDING_DIM), float(clip.speaker)) for clip in some]), [200] * len(some)


def frames_of(inputs: Tensor) -> Tensor:
    return inputs.transpose(1, 2)


def pooled_in(
    work: Path, clips: list[Clip], progress: Any = lambda items, what: items, babble: Sequence[str] = ()
) -> PooledWindows:
    windows = Windows([Corpus("made", "none", tuple(clips), {})], Features(), None, Softness(), 300, 0.0)
    torch.manual_seed(0)
    model = EmotionDetectionModel(len(LABELS))
    store = pooled_store(work, model, Recipe(), clips, babble)
    plan = PoolingPlan(seed=0, non_speech=0.5)
    return pool_windows(ClipEncoder(model, load, frames_of), windows, clips, plan, store, progress)


def test_windows_have_their_speaker_s_neutral_offset_and_labels_count_alike(tmp_path: Path) -> None:
    clips = made_clips()
    own = neutral_offsets(ClipEncoder(EmotionDetectionModel(len(LABELS)), load, frames_of), clips)
    assert {who: round(float(shift[0]), 4) for who, shift in own.items()} == {
        f"made/{number}": number - 2.5 for number in range(6)
    }
    pooled = pooled_in(tmp_path, clips)
    assert len(pooled.vectors) >= DRAWS * len(clips)
    speech = pooled.vectors[:, 0] < 8
    torch.testing.assert_close(pooled.neutral_offsets[speech, 0], pooled.vectors[speech, 0] - 2.5)
    assert not pooled.neutral_offsets[~speech].any()
    likely = pooled.targets.argmax(1).numpy()
    drawn = pooled.sampling_shares()
    shares = [drawn[speech.numpy() & (likely == LABELS.index(label))].sum() for label in ("neutral", "happy")]
    assert shares[0] == pytest.approx(shares[1])
    assert drawn.sum() == pytest.approx(1)


def test_interrupted_pooling_resumes_and_has_the_same_result(tmp_path: Path) -> None:
    whole = pooled_in(tmp_path / "whole", made_clips())
    encoded: list[int] = []

    def watched(numbers: Sequence[int], what: str) -> Iterator[int]:
        for number in numbers:
            encoded.append(number)
            yield number

    def cut_off(numbers: Sequence[int], what: str) -> Iterator[int]:
        yield from islice(watched(numbers, what), 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pooled_in(tmp_path / "parts", made_clips(), cut_off)
    parts = pooled_in(tmp_path / "parts", made_clips(), watched)
    assert len(encoded) == len(set(encoded)) > 1
    for name in ("vectors", "neutral_offsets", "targets", "masks"):
        assert torch.equal(getattr(parts, name), getattr(whole, name))
    assert (parts.speakers, parts.kinds) == (whole.speakers, whole.kinds)


def test_windows_cached_under_other_labels_are_not_used(tmp_path: Path) -> None:
    clips = made_clips()
    pooled_in(tmp_path, clips)
    sad = [replace(clip, label="sad" if clip.label == "happy" else clip.label) for clip in clips]
    said = {LABELS[number] for number in pooled_in(tmp_path, sad).targets.argmax(1).tolist()}
    assert "sad" in said
    assert "happy" not in said


def test_windows_with_other_babble_are_encoded_anew(tmp_path: Path) -> None:
    asked: list[int] = []

    def counting(numbers: Sequence[int], what: str) -> Sequence[int]:
        asked.append(len(numbers))
        return numbers

    for babble in (["a"], ["a"], ["b"]):
        pooled_in(tmp_path, made_clips(), counting, babble)
    first, again, others = asked
    assert (again, others) == (0, first)
