import shutil
from pathlib import Path

import pytest

from streamer.corpora.corpus import read_corpora, read_corpus
from streamer.emotion.labels import LABELS
from streamer.errors import UsageError
from tests.support.training_corpus import write_corpus


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("file", "corpus", "label", "speaker"),
    [
        ("1001_IEO_ANG_HI.wav", "crema-d", "angry", "1001"),
        ("1091_WSI_NEU_XX.opus", "crema-d", "neutral", "1091"),
        ("03-01-02-01-02-01-24.wav", "ravdess", "calm", "24"),
        ("03-01-08-02-01-02-07.flac", "ravdess", "surprised", "07"),
        ("EB0_fear_12.wav", "nemo", "fearful", "EB0"),
        ("03a01Wa.wav", "emo-db", "angry", "03"),
        ("16b10Td.wav", "emo-db", "sad", "16"),
        ("OAF_back_ps.wav", "tess", "surprised", "OA"),
        ("OA_bite_neutral.wav", "tess", "neutral", "OA"),
        ("YAF_youth_fear.wav", "tess", "fearful", "YA"),
        ("DC_su07.wav", "savee", "surprised", "DC"),
        ("KL_a15.wav", "savee", "angry", "KL"),
    ],
)
def test_a_corpus_is_recognised_by_its_file_names(
    tmp_path: Path, file: str, corpus: str, label: str, speaker: str
) -> None:
    read = read_corpus(touch(tmp_path, f"Actor/{file}", "readme.txt"))
    assert read.name == corpus
    assert [(clip.label, clip.speaker, clip.path.name) for clip in read.clips] == [(label, speaker, file)]
    assert read.labels == (label,)


def test_a_folder_of_two_corpora_is_both_and_no_clip_is_dropped(tmp_path: Path) -> None:
    for name in ("1001_DFA_ANG_XX", "1002_DFA_HAP_XX", "1003_DFA_SAD_XX", "03-01-03-01-01-01-07"):
        (tmp_path / f"{name}.wav").touch()
    assert [(one.name, len(one.clips)) for one in read_corpora([tmp_path])] == [("crema-d", 3), ("ravdess", 1)]
    with pytest.raises(UsageError, match=r"several corpora \(crema-d, ravdess\)"):
        read_corpus(tmp_path)


def test_songs_and_boredom_are_left_out(tmp_path: Path) -> None:
    songs = touch(tmp_path / "a", "03-02-05-01-01-01-01.wav", "03-01-05-01-01-01-01.wav")
    assert len(read_corpus(songs).clips) == 1
    bored = touch(tmp_path / "b", "03a01La.wav", "03a01Nc.wav")
    assert [clip.label for clip in read_corpus(bored).clips] == ["neutral"]


def test_a_folder_of_unknown_names_says_how_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="path,label,speaker"):
        read_corpus(touch(tmp_path, "hello.wav"))


def test_a_corpus_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no corpus"):
        read_corpus(tmp_path / "nowhere")


def test_a_csv_file_lists_any_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "x/one.wav", "two.wav")
    file = tmp_path / "mine.csv"
    file.write_text("path,label,speaker,note\nx/one.wav,Happy,anna,loud\ntwo.wav,sad,ben,\n", encoding="utf-8-sig")
    corpus = read_corpus(file)
    assert corpus.name == "mine"
    assert corpus.speakers == ("anna", "ben")
    assert corpus.labels == ("happy", "sad")
    assert {clip.path for clip in corpus.clips} == {tmp_path / "x/one.wav", tmp_path / "two.wav"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path,speaker\na.wav,x\n", "lacks the column label"),
        ("path,label,speaker\na.wav,furious,x\n", "'furious'; use one of neutral"),
        ("path,label,speaker\na.wav,sad,\n", "Line 2 .* names no speaker"),
        ("path,label,speaker\nb.wav,sad,x\n", "which is not there"),
        ("path,label,speaker\n", "lists no recordings"),
        ("", "lacks the column label"),
        ("path,label,speaker\na.wav\n", "label ''"),
        ("path,label,speaker\na.wav,sad,x\n./a.wav,happy,y\n", "lists a.wav 2 times"),
    ],
)
def test_a_wrong_csv_file_is_refused_with_the_reason(tmp_path: Path, text: str, complaint: str) -> None:
    touch(tmp_path, "a.wav")
    file = tmp_path / "mine.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=complaint):
        read_corpus(file)


def test_a_recording_that_an_archive_holds_twice_is_one_clip(tmp_path: Path) -> None:
    write_corpus(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "a" / "again")
    assert len(read_corpus(tmp_path / "a").clips) == 16  # 4 speakers x 2 emotions x 2 takes


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UsageError, match="no CSV file"):
        read_corpus(file)


def test_the_crowds_votes_become_shares(tmp_path: Path) -> None:
    touch(tmp_path, "1001_IEO_ANG_HI.wav", "1001_IEO_HAP_HI.wav")
    (tmp_path / "voice_votes.csv").write_text(
        "file,angry,neutral\n1001_IEO_ANG_HI,3,1\n1001_IEO_HAP_HI,0,0\n", encoding="utf-8"
    )
    votes = read_corpus(tmp_path).votes
    assert set(votes) == {"1001_IEO_ANG_HI"}
    assert votes["1001_IEO_ANG_HI"][LABELS.index("angry")] == 0.75
    assert sum(votes["1001_IEO_ANG_HI"]) == 1


@pytest.mark.parametrize("text", [b"file,angry\n1001_IEO_ANG_HI,many\n", b"file,angry\n\xff\xfe,3\n"])
def test_votes_that_cannot_be_counted_are_refused(tmp_path: Path, text: bytes) -> None:
    touch(tmp_path, "1001_IEO_ANG_HI.wav")
    (tmp_path / "voice_votes.csv").write_bytes(text)
    with pytest.raises(UsageError, match="correct it, or remove it"):
        read_corpus(tmp_path)


def test_votes_for_unknown_labels_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "1001_IEO_ANG_HI.wav")
    (tmp_path / "voice_votes.csv").write_text("file,bored\n1001_IEO_ANG_HI,3\n", encoding="utf-8")
    with pytest.raises(UsageError, match="bored"):
        read_corpus(tmp_path)


def test_two_corpora_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = [write_corpus(tmp_path / name) for name in ("a", "b")]
    with pytest.raises(UsageError, match="called ravdess"):
        read_corpora(folders)


def test_a_recording_that_a_corpus_holds_under_two_names_counts_once(tmp_path: Path) -> None:
    for take in ("01", "02"):
        (tmp_path / f"03-01-03-01-02-{take}-07.wav").touch()
        (tmp_path / f"03-01-03-01-02-{take}-08.wav").touch()
    stems = [clip.path.stem for clip in read_corpus(tmp_path).clips]
    assert stems == ["03-01-03-01-02-01-07", "03-01-03-01-02-01-08", "03-01-03-01-02-02-08"]
