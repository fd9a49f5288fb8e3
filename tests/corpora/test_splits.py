from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.corpora.corpus import Clip, Corpus
from streamer.corpora.splits import (
    PARTS,
    Part,
    Split,
    check_no_leakage,
    fold_speakers,
    pin_known_speakers,
    read_split,
    split_speakers,
)
from streamer.emotion.card import Speakers
from streamer.emotion.checkpoint import load_checkpoint, save_checkpoint
from streamer.errors import UsageError


def corpus_of(name: str, speakers: int) -> Corpus:
    clips = [Clip(Path(f"{s}-{k}.wav"), name, "sad", f"{s:03d}") for s in range(speakers) for k in range(2)]
    return Corpus(name, "none", tuple(clips))


@given(counts=st.lists(st.integers(3, 60), min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_every_speaker_is_in_exactly_one_part_and_no_part_is_empty(counts: list[int], seed: int) -> None:
    corpora = [corpus_of(f"c{number}", count) for number, count in enumerate(counts)]
    split = split_speakers(corpora, seed)
    parts = [set(getattr(split, part)) for part in PARTS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == sum(counts)
    for corpus in corpora:
        for part in PARTS:
            chosen = split.select(corpus.clips, part)
            assert chosen
            assert {clip.speaker_id for clip in chosen} <= set(getattr(split, part))


def test_a_corpus_splits_alike_whatever_is_beside_it() -> None:
    alone = split_speakers([corpus_of("a", 30)])
    beside = split_speakers([corpus_of("b", 12), corpus_of("a", 30)])
    assert set(alone.test) < set(beside.test)
    assert set(alone.validation) < set(beside.validation)


def test_another_seed_splits_otherwise() -> None:
    assert split_speakers([corpus_of("a", 30)], 1).test != split_speakers([corpus_of("a", 30)], 2).test


def test_speakers_of_one_name_in_two_corpora_are_two_people() -> None:
    split = split_speakers([corpus_of("a", 10), corpus_of("b", 10)])
    assert len({*split.train, *split.validation, *split.test}) == 20


def test_two_speakers_are_too_few() -> None:
    with pytest.raises(UsageError, match="2 speaker"):
        split_speakers([corpus_of("a", 2)])


@given(counts=st.lists(st.integers(5, 60), min_size=1, max_size=3), folds=st.integers(3, 5), seed=st.integers(0, 2**32))
def test_folds_test_every_speaker_once_and_leave_none_out(counts: list[int], folds: int, seed: int) -> None:
    corpora = [corpus_of(f"c{number}", count) for number, count in enumerate(counts)]
    splits = [fold_speakers(corpora, fold, folds, seed) for fold in range(1, folds + 1)]
    assert splits[0] == split_speakers(corpora, seed)
    assert sorted(speaker for split in splits for speaker in split.test) == sorted(
        clip.speaker_id for corpus in corpora for clip in corpus.clips[::2]
    )
    for split in splits:
        parts = [set(getattr(split, part)) for part in PARTS]
        assert sum(map(len, parts)) == len(set.union(*parts)) == sum(counts)
        for corpus in corpora:
            assert all(split.select(corpus.clips, part) for part in PARTS)


def test_test_speakers_of_the_first_fold_validate_in_no_other() -> None:
    corpora = [corpus_of("a", 30)]
    tested = set(fold_speakers(corpora, 1, 3).test)
    assert not any(tested & set(fold_speakers(corpora, fold, 3).validation) for fold in (2, 3))


@pytest.mark.parametrize(("fold", "folds", "cure"), [(4, 3, "1 to K"), (0, 3, "1 to K"), (1, 2, "3 or more")])
def test_a_fold_that_is_not_there_is_refused(fold: int, folds: int, cure: str) -> None:
    with pytest.raises(UsageError, match=cure):
        fold_speakers([corpus_of("a", 30)], fold, folds)


@pytest.mark.parametrize(("speakers", "fold", "folds"), [(3, 4, 4), (9, 9, 9)])
def test_too_few_speakers_for_so_many_folds_are_refused(speakers: int, fold: int, folds: int) -> None:
    with pytest.raises(UsageError, match="too few"):
        fold_speakers([corpus_of("a", speakers)], fold, folds)


def test_a_split_comes_back_from_its_file(tmp_path: Path) -> None:
    split = split_speakers([corpus_of("a", 9)])
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split


@pytest.mark.parametrize("text", ["", "[]", '{"seed": 1}', '{"seed": 1, "train": 3, "validation": [], "test": []}'])
def test_a_damaged_split_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(UsageError, match="no split"):
        Split.load(tmp_path / "split.json")


def test_a_split_with_a_speaker_in_two_parts_is_refused(tmp_path: Path) -> None:
    split = split_speakers([corpus_of("a", 9)])
    replace(split, test=(*split.test, split.train[0])).save(tmp_path / "split.json")
    with pytest.raises(UsageError, match=f"{split.train[0]} in two parts"):
        Split.load(tmp_path / "split.json")


def test_a_checkpoint_serves_as_the_split_that_it_was_trained_by(tmp_path: Path) -> None:
    known = load_checkpoint("measured").card.speakers
    assert known is not None
    split = read_split(Path("measured"))
    assert {part: getattr(split, part) for part in PARTS} == {part: getattr(known, part) for part in PARTS}
    split.save(tmp_path / "split.json")
    assert read_split(tmp_path / "split.json") == split


def test_a_checkpoint_whose_card_lists_no_speakers_is_no_split(tmp_path: Path) -> None:
    silent = load_checkpoint("measured")
    save_checkpoint(tmp_path / "silent.safetensors", silent.tensors, replace(silent.card, speakers=None))
    with pytest.raises(UsageError, match="does not list its training speakers"):
        read_split(tmp_path / "silent.safetensors")


KNOWN = Speakers(train=("a/000", "a/001"), validation=("a/002",), test=("a/003",))


@pytest.mark.parametrize("strangers", ["train", "test"])
def test_speakers_that_a_checkpoint_knows_keep_their_part(strangers: Part) -> None:
    drawn = split_speakers([corpus_of("a", 9), corpus_of("b", 9)])
    kept = pin_known_speakers(drawn, KNOWN, strangers)
    for part in PARTS:
        assert set(getattr(KNOWN, part)) <= set(getattr(kept, part))
    assert {f"a/{number:03d}" for number in range(4, 9)} <= set(getattr(kept, strangers))
    assert {name for name in kept.test if name[0] == "b"} == {name for name in drawn.test if name[0] == "b"}
    check_no_leakage(kept, KNOWN, "it")


def test_a_checkpoint_without_speakers_changes_no_split() -> None:
    drawn = split_speakers([corpus_of("a", 9)])
    assert pin_known_speakers(drawn, None, "test") == drawn
    check_no_leakage(drawn, None, "it")


@pytest.mark.parametrize("known", ["a/001", "a/002"])
def test_a_test_speaker_that_was_trained_on_is_refused(known: str) -> None:
    split = Split(1, train=("a/003",), validation=("a/004",), test=(known, "a/005"))
    with pytest.raises(UsageError, match=f"{known} is a test speaker"):
        check_no_leakage(split, KNOWN, "it")
