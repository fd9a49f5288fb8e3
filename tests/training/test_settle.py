from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from streamer.emotion import EmotionDetectionModel
from streamer.emotion.pooling import POOLED_DIM
from streamer.rates import EMBEDDING_DIM, FRAME_RATE
from streamer.training.corpora import LABELS, Clip
from streamer.training.losses import Softness
from streamer.training.reference import differences
from streamer.training.settle import DRAWS, SHORTEST_S, PooledWindows, cut_anywhere, pool_windows, settle
from streamer.training.windows import Cut, Windows

SPEAKERS = 6
TOLD = 24  # times that a pooled window tells its label


def spoken(label: int, speaker: int, rng: np.random.Generator) -> Tensor:
    """A pooled window of which some values tell the label, under a voice that says the same louder."""
    vector = rng.normal(0, 0.1, POOLED_DIM).astype(np.float32)
    vector[:EMBEDDING_DIM] += 1.5 * voice(speaker).astype(np.float32)
    vector[label : 4 * TOLD : 4] += 2
    return torch.from_numpy(vector)


def voice(speaker: int) -> npt.NDArray[np.float64]:
    """What is added to the means of all that somebody says: it lies where labels lie."""
    shift = np.zeros(EMBEDDING_DIM)
    shift[: 4 * TOLD] = np.tile(np.random.default_rng(speaker).normal(0, 1, 4), TOLD)
    return shift


def windows_of(speakers: range, seed: int) -> tuple[PooledWindows, Tensor]:
    rng = np.random.default_rng(seed)
    said = [(label, speaker) for label in range(4) for speaker in speakers for _ in range(20)]
    labels = torch.tensor([label for label, _ in said])
    return PooledWindows(
        vectors=torch.stack([spoken(label, speaker, rng) for label, speaker in said]),
        voices=torch.from_numpy(np.stack([1.5 * voice(speaker) for _, speaker in said])).float(),
        targets=torch.nn.functional.one_hot(labels, len(LABELS)).float(),
        masks=(torch.arange(len(LABELS)) < 4).repeat(len(said), 1),
        speakers=tuple(f"made/{speaker}" for _, speaker in said),
        kinds=tuple(("made", LABELS[label]) for label, _ in said),
    ), labels


def accuracy(model: EmotionDetectionModel, windows: PooledWindows, labels: Tensor, calibrated: bool) -> float:
    vectors = windows.vectors.clone()
    vectors[:, :EMBEDDING_DIM] -= calibrated * windows.voices
    with torch.no_grad():
        said = model.eval().classifier(vectors).masked_fill(~windows.masks, float("-inf")).argmax(1)
    return float((said == labels).float().mean())


def test_a_settled_classifier_knows_what_profiles_do_and_does_without() -> None:
    torch.manual_seed(0)
    model = EmotionDetectionModel(len(LABELS))
    learnt, labels = windows_of(range(SPEAKERS), 0)
    settle(model, learnt, steps=250, seed=1)
    never_heard, their_labels = windows_of(range(SPEAKERS, SPEAKERS + 4), 1)
    assert accuracy(model, never_heard, their_labels, calibrated=True) > 0.9
    assert accuracy(model, learnt, labels, calibrated=False) > 0.5  # twice what chance has


def test_a_label_that_no_corpus_has_is_never_said_not_even_of_noise() -> None:
    torch.manual_seed(0)
    model = EmotionDetectionModel(len(LABELS))
    learnt, _ = windows_of(range(SPEAKERS), 0)
    noise = PooledWindows(
        vectors=torch.randn(40, POOLED_DIM),
        voices=torch.zeros(40, EMBEDDING_DIM),
        targets=torch.full((40, len(LABELS)), 1 / len(LABELS)),
        masks=torch.ones(40, len(LABELS), dtype=torch.bool),
        speakers=("",) * 40,
        kinds=(("", ""),) * 40,
    )
    both = PooledWindows(
        *(
            torch.cat([getattr(learnt, name), getattr(noise, name)])
            for name in ("vectors", "voices", "targets", "masks")
        ),
        speakers=learnt.speakers + noise.speakers,
        kinds=learnt.kinds + noise.kinds,
    )
    settle(model, both, steps=50, seed=1)
    with torch.no_grad():
        likely = model.eval().classifier(both.vectors).softmax(dim=1)
    assert likely[:, 4:].max() < 1e-6
    assert likely[:, :4].min() > 0


def test_to_settle_moves_the_classifier_alone_and_always_alike() -> None:
    torch.manual_seed(0)
    model, twin = EmotionDetectionModel(len(LABELS)), EmotionDetectionModel(len(LABELS))
    twin.load_state_dict(model.state_dict())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learnt, _ = windows_of(range(SPEAKERS), 0)
    settle(model, learnt, steps=3, seed=1)
    settle(twin, learnt, steps=3, seed=1)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("classifier.")}
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name])


@pytest.mark.parametrize("frames", [[1, 2], [40, 300], [300, 300, 299]])
def test_a_cut_lies_in_its_row_and_is_no_shorter_than_the_shortest_or_the_row(frames: list[int]) -> None:
    real = torch.arange(max(frames)) < torch.tensor(frames)[:, None]
    rng = np.random.default_rng(0)
    for _ in range(20):
        cut = cut_anywhere(real, rng)
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


def test_windows_come_with_their_speakers_voice_and_labels_count_alike() -> None:
    from streamer.training.corpora import Corpus

    clips = made_clips()
    corpus = Corpus("made", "none", tuple(clips), {})
    windows = Windows([corpus], Features(), None, Softness(), 300, 0.0)

    def load(some: list[Clip]) -> tuple[Tensor, list[int]]:
        return torch.stack([torch.full((200, EMBEDDING_DIM), float(clip.speaker)) for clip in some]), [200] * len(some)

    model = EmotionDetectionModel(len(LABELS))
    frames = lambda inputs: inputs.transpose(1, 2)  # noqa: E731
    own = differences(model, frames, load, clips)
    assert {who: round(float(shift[0]), 4) for who, shift in own.items()} == {
        f"made/{number}": number - 2.5 for number in range(6)
    }
    pooled = pool_windows(model, frames, load, windows, clips, 0.5, 0, lambda items, what: items)
    assert len(pooled.vectors) >= DRAWS * len(clips)
    speech = pooled.vectors[:, 0] < 8
    torch.testing.assert_close(pooled.voices[speech, 0], pooled.vectors[speech, 0] - 2.5)
    assert not pooled.voices[~speech].any()
    likely = pooled.targets.argmax(1).numpy()
    drawn = pooled.shares()
    shares = [drawn[speech.numpy() & (likely == LABELS.index(label))].sum() for label in ("neutral", "happy")]
    assert shares[0] == pytest.approx(shares[1])
    assert drawn.sum() == pytest.approx(1)


def test_a_speaker_who_is_left_out_is_heard_in_no_window() -> None:
    whole, _ = windows_of(range(3), 0)
    rest = whole.without("made/1")
    others = torch.tensor([who != "made/1" for who in whole.speakers])
    assert set(rest.speakers) == {"made/0", "made/2"}
    assert len(rest.kinds) == len(rest.speakers) == int(others.sum())
    for name in ("vectors", "voices", "targets", "masks"):
        assert torch.equal(getattr(rest, name), getattr(whole, name)[others])
    assert rest.shares().sum() == pytest.approx(1)
