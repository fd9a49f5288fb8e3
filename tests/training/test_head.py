import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from streamer.constants import EMBEDDING_DIM
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.emotion.pooling import POOLED_DIM
from streamer.training.head import PooledWindows, fit_head

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
        neutral_offsets=torch.from_numpy(np.stack([1.5 * voice(speaker) for _, speaker in said])).float(),
        targets=torch.nn.functional.one_hot(labels, len(LABELS)).float(),
        masks=(torch.arange(len(LABELS)) < 4).repeat(len(said), 1),
        speakers=tuple(f"made/{speaker}" for _, speaker in said),
        kinds=tuple(("made", LABELS[label]) for label, _ in said),
    ), labels


def accuracy(model: EmotionDetectionModel, windows: PooledWindows, labels: Tensor, calibrated: bool) -> float:
    vectors = windows.vectors.clone()
    vectors[:, :EMBEDDING_DIM] -= calibrated * windows.neutral_offsets
    with torch.no_grad():
        said = model.eval().classifier(vectors).masked_fill(~windows.masks, float("-inf")).argmax(1)
    return float((said == labels).float().mean())


def test_a_settled_classifier_knows_what_profiles_do_and_does_without() -> None:
    torch.manual_seed(0)
    model = EmotionDetectionModel(len(LABELS))
    learnt, labels = windows_of(range(SPEAKERS), 0)
    fit_head(model, learnt, steps=250, seed=1)
    never_heard, their_labels = windows_of(range(SPEAKERS, SPEAKERS + 4), 1)
    assert accuracy(model, never_heard, their_labels, calibrated=True) > 0.9
    assert accuracy(model, learnt, labels, calibrated=False) > 0.5  # twice what chance has


def test_a_label_that_no_corpus_has_is_never_said_not_even_of_noise() -> None:
    torch.manual_seed(0)
    model = EmotionDetectionModel(len(LABELS))
    learnt, _ = windows_of(range(SPEAKERS), 0)
    noise = PooledWindows(
        vectors=torch.randn(40, POOLED_DIM),
        neutral_offsets=torch.zeros(40, EMBEDDING_DIM),
        targets=torch.full((40, len(LABELS)), 1 / len(LABELS)),
        masks=torch.ones(40, len(LABELS), dtype=torch.bool),
        speakers=("",) * 40,
        kinds=(("", ""),) * 40,
    )
    both = PooledWindows(
        *(
            torch.cat([getattr(learnt, name), getattr(noise, name)])
            for name in ("vectors", "neutral_offsets", "targets", "masks")
        ),
        speakers=learnt.speakers + noise.speakers,
        kinds=learnt.kinds + noise.kinds,
    )
    fit_head(model, both, steps=50, seed=1)
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
    fit_head(model, learnt, steps=3, seed=1)
    fit_head(twin, learnt, steps=3, seed=1)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("classifier.")}
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name])


def test_a_speaker_who_is_left_out_is_heard_in_no_window() -> None:
    whole, _ = windows_of(range(3), 0)
    rest = whole.without("made/1")
    others = torch.tensor([who != "made/1" for who in whole.speakers])
    assert set(rest.speakers) == {"made/0", "made/2"}
    assert len(rest.kinds) == len(rest.speakers) == int(others.sum())
    for name in ("vectors", "neutral_offsets", "targets", "masks"):
        assert torch.equal(getattr(rest, name), getattr(whole, name)[others])
    assert rest.sampling_shares().sum() == pytest.approx(1)
