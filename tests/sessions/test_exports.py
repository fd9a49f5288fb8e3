"""Every exported file, read back by a library, says what the journal says."""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from streamer.cli import app
from streamer.commands.export import ENDINGS, Format
from streamer.errors import StreamerError, UsageError
from streamer.events import EmotionStarted, Event, Window
from streamer.sessions.session import read_session
from streamer.sessions.tracks import tracks_of
from tests.sessions.sessions_made import as_from_a_file, write_journal
from tests.sessions.synthetic_day import INFO, LABELS, NOON, day
from tests.support.event_samples import TIME

Marks = list[tuple[float, float, str]]


def read_audacity(path: Path) -> Marks:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandera, at import
        from crowsetta.formats.seq import AudSeq

    sequence = AudSeq.from_file(path).to_seq()
    return list(zip(sequence.onsets_s.tolist(), sequence.offsets_s.tolist(), list(sequence.labels), strict=True))


def read_captions(path: Path) -> Marks:
    import webvtt

    srt = path.suffix == ".srt"
    captions = webvtt.from_srt(path) if srt else webvtt.read(path)
    plain: Callable[[str], str] = str if srt else unescape  # this reader leaves WebVTT's entities as they are
    return [(seconds_of(caption.start), seconds_of(caption.end), plain(caption.text)) for caption in captions]


def read_textgrid(path: Path) -> Marks:
    from praatio import textgrid

    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    return [(entry.start, entry.end, entry.label) for entry in grid.getTier(grid.tierNames[0]).entries]


def read_eaf(path: Path) -> Marks:
    from pympi import Elan

    document = Elan.Eaf(str(path))
    tier = next(iter(document.get_tier_names()))
    return sorted((start / 1000, end / 1000, text) for start, end, text in document.get_annotation_data_for_tier(tier))


def read_rttm(path: Path) -> Marks:
    from pyannote.database.util import load_rttm

    (annotation,) = load_rttm(path).values()
    return [(segment.start, segment.end, label) for segment, _, label in annotation.itertracks(yield_label=True)]


def read_bids(path: Path) -> Marks:
    import pandas as pd

    table = pd.read_csv(path, sep="\t", na_values="n/a")
    return list(zip(table.onset, table.onset + table.duration, table.trial_type, strict=True))


def read_emotions(path: Path) -> Marks:
    import pandas as pd

    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    return list(zip(table.start_s, table.end_s, table.label, strict=True))


READERS: dict[str, Callable[[Path], Marks]] = {
    "audacity": read_audacity, "vtt": read_captions, "srt": read_captions, "textgrid": read_textgrid, "eaf": read_eaf,
    "rttm": read_rttm, "bids": read_bids, "csv": read_emotions, "parquet": read_emotions,
}  # fmt: skip


def seconds_of(timestamp: str) -> float:
    hours, minutes, rest = timestamp.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def export(journal: Path, to: str, out: Path, *more: str) -> Path:
    result = CliRunner().invoke(
        app, ["export", str(journal), "--to", to, "-o", str(out), *more], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert str(out) in result.stdout.split()
    return out


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return [INFO, *day(hours=2.0)]


def test_there_is_a_reader_for_every_format() -> None:
    assert set(READERS) == set(get_args(Format)) == set(ENDINGS)


@pytest.mark.parametrize("fast", [False, True], ids=["live", "file"])
@pytest.mark.parametrize("to", READERS)
def test_an_export_reads_back_equal(to: str, fast: bool, events: list[Event], tmp_path: Path) -> None:
    heard = [INFO, *as_from_a_file(events[1:], TIME)] if fast else events
    journal = write_journal(tmp_path / "day.jsonl", heard)
    out = export(
        journal, to, tmp_path / f"out{ENDINGS[to]}", *(["--rows", "emotions"] if to in ("csv", "parquet") else [])
    )
    (track,) = tracks_of(read_session(heard))
    marks = READERS[to](out)
    assert len(marks) == len(track.emotions) > 50
    for (start_s, end_s, text), wanted in zip(marks, track.emotions, strict=True):
        assert (start_s, end_s) == pytest.approx((wanted.start_s, wanted.end_s), abs=1e-6)
        assert text == wanted.text


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_a_table_of_windows_has_a_row_for_each_with_all_its_figures(
    to: str, events: list[Event], tmp_path: Path
) -> None:
    import pandas as pd

    journal = write_journal(tmp_path / "day.jsonl", events)
    out = export(journal, to, tmp_path / f"windows.{to}")
    table = pd.read_parquet(out) if to == "parquet" else pd.read_csv(out, parse_dates=["time"])
    windows = [event for event in events if isinstance(event, Window)]
    assert len(table) == len(windows)
    for row, window in list(zip(table.to_dict("records"), windows, strict=True))[::50]:
        assert row["time"].timestamp() == pytest.approx(window.time, abs=1e-3)
        assert (row["stream"], row["seq"], row["end_s"], row["warming"]) == ("desk", window.seq, window.end_s, False)
        assert row["session_s"] == pytest.approx(window.time - NOON, abs=1e-3)
        found = {label: row[f"prob_{label}"] for label in LABELS}
        if window.probs is None:
            assert all(math.isnan(value) for value in found.values())
            assert not isinstance(row["label"], str)
        else:
            assert found == pytest.approx(dict(window.probs))
            assert row["label"] == row["held"] == window.label


def test_parquet_names_the_model_that_made_it(events: list[Event], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    out = export(write_journal(tmp_path / "day.jsonl", events), "parquet", tmp_path / "day.parquet")
    metadata = pq.read_schema(out).metadata
    assert metadata[b"model_sha256"] == INFO.model_sha256.encode()
    assert metadata[b"model"] == b"bundled-8"


def test_gaps_are_marked_for_researchers(tmp_path: Path) -> None:
    first = list(day(hours=0.1, every_s=1.0))
    later = list(day(hours=0.1, every_s=1.0, begin=NOON + 1_000.0, seed=8))
    journal = write_journal(tmp_path / "day.jsonl", [INFO, *first, INFO, *later])
    gap = (360.0, 1_000.0)
    marks = [mark for mark in read_bids(export(journal, "bids", tmp_path / "x_events.tsv")) if "gap" in mark[2]]
    assert [(*mark[:2], mark[2]) for mark in marks] == [(*gap, "gap: not recorded")]
    assert "onset" in json.loads((tmp_path / "x_events.json").read_text())

    from praatio import textgrid
    from pympi import Elan

    grid = textgrid.openTextgrid(str(export(journal, "textgrid", tmp_path / "x.TextGrid")), includeEmptyIntervals=False)
    assert [(e.start, e.end) for e in grid.getTier("desk gaps").entries] == [gap]
    document = Elan.Eaf(str(export(journal, "eaf", tmp_path / "x.eaf")))
    assert document.get_annotation_data_for_tier("desk gaps") == [(360_000, 1_000_000, "not recorded")]


def test_of_several_streams_each_has_a_tier_or_its_name_before_the_label(tmp_path: Path) -> None:
    hall = list(day(hours=0.2, every_s=1.0, seed=3, stream="hall"))
    both = sorted([*day(hours=0.2, every_s=1.0), *hall], key=lambda event: event.time)
    journal = write_journal(tmp_path / "day.jsonl", [INFO, *both])
    texts = {text for _, _, text in read_captions(export(journal, "vtt", tmp_path / "x.vtt"))}
    assert {text.split(":")[0] for text in texts} == {"desk", "hall"}
    from praatio import textgrid

    out = export(journal, "textgrid", tmp_path / "x.TextGrid")
    assert textgrid.openTextgrid(str(out), includeEmptyIntervals=False).tierNames == ("desk", "hall")
    alone = export(journal, "srt", tmp_path / "x.srt", "--stream", "hall")
    assert len(read_captions(alone)) == sum(isinstance(event, EmotionStarted) for event in hall)


@pytest.mark.parametrize("to", READERS)
def test_a_session_without_an_emotion_is_written_and_read(to: str, tmp_path: Path) -> None:
    windows = [event for event in day(hours=0.01) if isinstance(event, Window)]
    journal = write_journal(tmp_path / "day.jsonl", [INFO, *windows])
    out = export(
        journal, to, tmp_path / f"out{ENDINGS[to]}", *(["--rows", "emotions"] if to in ("csv", "parquet") else [])
    )
    assert out.exists()
    if to not in ("audacity", "rttm", "vtt", "srt"):
        assert READERS[to](out) == []


def test_labels_of_another_s_model_break_no_format(tmp_path: Path) -> None:
    label = '=x("a") <b> --> & y'
    events = [replace(e, label=label) if e.type == "transition" else e for e in day(hours=0.1)]  # type: ignore[call-arg]
    journal = write_journal(tmp_path / "day.jsonl", [INFO, *events])
    for to in READERS:
        more = ["--rows", "emotions"] if to in ("csv", "parquet") else []
        marks = READERS[to](export(journal, to, tmp_path / f"out{ENDINGS[to]}", *more))
        wanted = {
            "csv": "'" + label,
            "rttm": "_".join(label.split()),
            "srt": label.translate({ord("<"): "‹", ord(">"): "›"}),
        }.get(to, label)
        assert {text for _, _, text in marks} == {wanted}, to


def test_the_file_that_is_read_is_not_written_over(tmp_path: Path) -> None:
    journal = write_journal(tmp_path / "day.jsonl", [INFO, *day(hours=0.01)])
    with pytest.raises(UsageError, match="is what is to be read"):
        CliRunner().invoke(app, ["export", str(journal), "--to", "csv", "-o", str(journal)], catch_exceptions=False)
    with pytest.raises(StreamerError, match="cannot be written"):
        CliRunner().invoke(
            app, ["export", str(journal), "--to", "vtt", "-o", str(tmp_path / "no" / "x.vtt")], catch_exceptions=False
        )


def test_without_its_library_a_format_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.commands.export.find_spec", lambda name: None)
    journal = write_journal(tmp_path / "day.jsonl", [INFO, *day(hours=0.01)])
    with pytest.raises(UsageError, match=r"needs praatio, which is not installed; .*pip install .*\[sessions\]"):
        CliRunner().invoke(app, ["export", str(journal), "--to", "textgrid"], catch_exceptions=False)
