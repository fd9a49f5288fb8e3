"""Folds never train on a tested speaker, and never test a speaker that the checkpoint knows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.constants import POOLED_DIM
from streamer.corpora.corpus import Corpus, read_corpus
from streamer.corpora.splits import Split, split_speakers
from streamer.evaluation.cross_validation import folds_per_checkpoint, make_folds, merge_folds, refit_probabilities
from tests.evaluation.conftest import SEED


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path) -> Corpus:
    return read_corpus(corpus_folder)


def test_holdout_is_one_fold_without_the_validation_speakers(corpus: Corpus) -> None:
    split = split_speakers([corpus])
    folds = make_folds(corpus, "holdout", split, 5)
    ((train, test),) = folds.parts
    assert [folds.clips[row] for row in test] == split.select(corpus.clips, "test")
    assert [folds.clips[row] for row in train] == split.select(corpus.clips, "train")
    assert len(folds.clips) < len(corpus.clips)


@pytest.mark.parametrize(("protocol", "count"), [("kfold", 3), ("loso", 4)])
def test_folds_test_every_clip_and_never_train_on_its_speaker(corpus: Corpus, protocol: Any, count: int) -> None:
    folds = make_folds(corpus, protocol, split_speakers([corpus]), 3)
    assert len(folds.parts) == count
    assert folds.tested.tolist() == list(range(len(corpus.clips)))
    for train, test in folds.parts:
        assert not {folds.clips[row].speaker for row in train} & {folds.clips[row].speaker for row in test}


@pytest.mark.parametrize(("protocol", "count"), [("kfold", 2), ("loso", 3)])
def test_known_speakers_are_trained_on_in_every_fold_and_never_tested(
    corpus: Corpus, protocol: Any, count: int
) -> None:
    known = corpus.speakers[1]
    folds = make_folds(corpus, protocol, split_speakers([corpus]), 2, [f"{corpus.name}/{known}"])
    assert len(folds.parts) == count
    assert folds.tested.tolist() == [row for row, clip in enumerate(corpus.clips) if clip.speaker != known]
    for train, _ in folds.parts:
        assert {row for row, clip in enumerate(corpus.clips) if clip.speaker == known} <= set(train.tolist())


@pytest.mark.parametrize("protocol", ["kfold", "loso"])
def test_a_speaker_unknown_to_several_checkpoints_is_tested_with_the_first(corpus: Corpus, protocol: Any) -> None:
    one, two, three, four = (f"{corpus.name}/{speaker}" for speaker in corpus.speakers)
    known = [{one, two}, {three}, {one, two, three, four}]
    per_checkpoint = folds_per_checkpoint(corpus, protocol, split_speakers([corpus]), 2, known)
    tested = [{own.clips[row].speaker_id for row in own.tested} for own in per_checkpoint]
    assert tested == [{three, four}, {one, two}, set()]
    assert merge_folds(per_checkpoint).tested.tolist() == list(range(len(corpus.clips)))


def test_a_refitted_classifier_is_trained_on_the_other_speakers_only(corpus: Corpus) -> None:
    pytest.importorskip("sklearn")
    folds = make_folds(corpus, "loso", Split(SEED, (), (), ()), 0)
    vectors = np.zeros((len(corpus.clips), POOLED_DIM), dtype=np.float32)
    vectors[:, 0] = folds.targets  # separates the labels …
    for row, clip in enumerate(corpus.clips):  # … and the speakers: the last one's labels are swapped
        vectors[row, 0] *= -1 if clip.speaker == corpus.speakers[-1] else 1
    probs = refit_probabilities(vectors, folds)
    right = probs.argmax(axis=1) == folds.targets
    last = np.array([clip.speaker == corpus.speakers[-1] for clip in corpus.clips])
    assert probs.sum(axis=1) == pytest.approx(1)
    assert right[~last].all()
    assert right[last].mean() == 0.5  # all clips of that speaker are taken for the label with the smaller vectors
