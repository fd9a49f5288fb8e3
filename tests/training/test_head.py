import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from streamer.constants import EMBEDDING_DIM, POOLED_DIM
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.training.head import PooledWindows, fit_head

SPEAKERS = 6
REPEATS = 24  # times that a pooled window encodes its label


def window(label: int, speaker: int, rng: np.random.Generator) -> Tensor:
    """A pooled window of which some values encode the label, under a larger offset of the speaker there."""
    vector = rng.normal(0, 0.1, POOLED_DIM).astype(np.float32)
    vector[:EMBEDDING_DIM] += 1.5 * offset(speaker).astype(np.float32)
    vector[label : 4 * REPEATS : 4] += 2
    return torch.from_numpy(vector)


def offset(speaker: int) -> npt.NDArray[np.float64]:
    """The offset of the means of a speaker's windows, in the places that encode labels."""
    shift = np.zeros(EMBEDDING_DIM)
    shift[: 4 * REPEATS] = np.tile(np.random.default_rng(speaker).normal(0, 1, 4), REPEATS)
    return shift


def windows_of(speakers: range, seed: int) -> tuple[PooledWindows, Tensor]:
    rng = np.random.default_rng(seed)
    rows = [(label, speaker) for label in range(4) for speaker in speakers for _ in range(20)]
    labels = torch.tensor([label for label, _ in rows])
    return PooledWindows(
        vectors=torch.stack([window(label, speaker, rng) for label, speaker in rows]),
        neutral_offsets=torch.from_numpy(np.stack([1.5 * offset(speaker) for _, speaker in rows])).float(),
        targets=torch.nn.functional.one_hot(labels, len(LABELS)).float(),
        masks=(torch.arange(len(LABELS)) < 4).repeat(len(rows), 1),
        speakers=tuple(f"made/{speaker}" for _, speaker in rows),
        kinds=tuple(("made", LABELS[label]) for label, _ in rows),
    ), labels


def accuracy(model: EmotionDetectionModel, windows: PooledWindows, labels: Tensor, with_profile: bool) -> float:
    vectors = windows.vectors.clone()
    vectors[:, :EMBEDDING_DIM] -= with_profile * windows.neutral_offsets
    with torch.no_grad():
        rows = model.eval().classifier(vectors).masked_fill(~windows.masks, float("-inf")).argmax(1)
    return float((rows == labels).float().mean())


def test_a_fitted_head_serves_streams_with_a_profile_and_without() -> None:
    torch.manual_seed(0)
    model = EmotionDetectionModel(len(LABELS))
    fitted, labels = windows_of(range(SPEAKERS), 0)
    fit_head(model, fitted, steps=250, seed=1)
    unknown, unknown_labels = windows_of(range(SPEAKERS, SPEAKERS + 4), 1)
    assert accuracy(model, unknown, unknown_labels, with_profile=True) > 0.9
    assert accuracy(model, fitted, labels, with_profile=False) > 0.5  # twice what chance has


def test_a_label_that_no_corpus_has_is_never_predicted_not_even_for_noise() -> None:
    torch.manual_seed(0)
    model = EmotionDetectionModel(len(LABELS))
    fitted, _ = windows_of(range(SPEAKERS), 0)
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
            torch.cat([getattr(fitted, name), getattr(noise, name)])
            for name in ("vectors", "neutral_offsets", "targets", "masks")
        ),
        speakers=fitted.speakers + noise.speakers,
        kinds=fitted.kinds + noise.kinds,
    )
    fit_head(model, both, steps=50, seed=1)
    with torch.no_grad():
        likely = model.eval().classifier(both.vectors).softmax(dim=1)
    assert likely[:, 4:].max() < 1e-6
    assert likely[:, :4].min() > 0


def test_fitting_changes_the_classifier_alone_and_is_deterministic() -> None:
    torch.manual_seed(0)
    model, twin = EmotionDetectionModel(len(LABELS)), EmotionDetectionModel(len(LABELS))
    twin.load_state_dict(model.state_dict())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fitted, _ = windows_of(range(SPEAKERS), 0)
    fit_head(model, fitted, steps=3, seed=1)
    fit_head(twin, fitted, steps=3, seed=1)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("classifier.")}
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name])


def test_a_speaker_left_out_is_in_no_window() -> None:
    whole, _ = windows_of(range(3), 0)
    rest = whole.without("made/1")
    others = torch.tensor([who != "made/1" for who in whole.speakers])
    assert set(rest.speakers) == {"made/0", "made/2"}
    assert len(rest.kinds) == len(rest.speakers) == int(others.sum())
    for name in ("vectors", "neutral_offsets", "targets", "masks"):
        assert torch.equal(getattr(rest, name), getattr(whole, name)[others])
    assert rest.sampling_shares().sum() == pytest.approx(1)
