"""The report as JSON, Markdown and pictures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Corpus
from streamer.evaluation.baselines import BaselineResult
from streamer.evaluation.false_alarms import Harnesses, measure_false_alarms
from streamer.evaluation.report import markdown, write_report
from streamer.evaluation.results import Evaluation
from streamer.evaluation.streams import ConditionFigures, NaturalFigures, StreamFigures
from streamer.evaluation.through_worker import WorkerHarness, stream_clips
from tests.evaluation.conftest import SEED, silent

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run


def test_the_report_is_written_as_json_and_text_and_pictures(evaluation: Evaluation, tmp_path: Path) -> None:
    written = write_report(evaluation, tmp_path / "report")
    assert all(path.stat().st_size for path in written)
    values = json.loads((tmp_path / "report" / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert values["corpora"][0]["clips"]["uar"] == evaluation.corpora[0].clips.uar
    assert "NaN" not in (tmp_path / "report" / "report.md").read_text()


def test_the_keys_of_the_json_are_those_that_readers_know(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(evaluation, tmp_path)
    values = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(values) == {
        "checkpoint", "model", "sha256", "protocol", "also", "seed", "window_s", "temperature", "threshold", "corpora",
        "natural", "foreign", "robustness", "false_alarms", "precisions",
    }  # fmt: skip
    corpus = values["corpora"][0]
    assert set(corpus) == {
        "name", "labels", "speakers", "clips", "peers", "streams", "speaker_change", "conditions", "live", "calibrated",
    }  # fmt: skip
    assert set(corpus["calibrated"]) == {"speakers", "clips", "uar_before", "uar_after", "difference"}
    assert set(values["robustness"]) == {"clips", "accuracy", "loudness_accuracy", "changes"}


def test_the_report_shows_windows_baselines_and_false_alarms(
    evaluation: Evaluation, harness: WorkerHarness, spoken: tuple[AudioStore, Corpus]
) -> None:
    audio, corpus = spoken
    live = stream_clips(harness, audio, corpus, corpus.clips, 0.4, SEED, silent)
    (result,) = evaluation.corpora
    peers = {"eGeMAPS + SVM": BaselineResult(0.5, (0.4, 0.6), 0.51)}
    measured = replace(result, labels=corpus.labels, live=live, peers=peers)
    alarms = measure_false_alarms(Harnesses(harness, None), 0.01, (), SEED, silent)
    text = markdown(replace(evaluation, corpora=(measured,), false_alarms=alarms))
    assert "windows in the worker" in text
    assert "| ravdess | eGeMAPS + SVM | 2 | 8 | 0.500 | 0.400 to 0.600 | 0.510 |" in text
    assert "| white noise | 0.0 | 0 |" in text


def test_the_report_names_its_split_and_its_model(evaluation: Evaluation) -> None:
    text = markdown(evaluation)
    assert f"split seed {evaluation.seed}" in text
    assert evaluation.sha256[:16] in text
    assert "## Unchanged predictions, 2 whole clips" in text
    assert "## Voice profiles" in text


def test_the_report_names_the_checkpoints_of_also(evaluation: Evaluation) -> None:
    text = markdown(replace(evaluation, protocol="loso", also=("first", "second")))
    assert "Speakers known to the checkpoint are tested with first, then second, if unknown to that." in text


def test_figures_of_streams_are_a_row_with_their_counts(evaluation: Evaluation) -> None:
    (result,) = evaluation.corpora
    windows = replace(result.clips, recall=(0.75, 0.5))
    streams = StreamFigures(2, 3.5, windows, 0.4, 0.8, 0.05, 10, 0.5, 0.1, 3.2, 2, 0.04)
    conditions = {"telephone": ConditionFigures(7, 0.9, 0.3, 0.4, 0.95, 0.1)}
    natural = {"radio": NaturalFigures(30.0, 3, {"sad": 3}, 0.7, 0.02)}
    text = markdown(
        replace(evaluation, corpora=(replace(result, streams=streams, conditions=conditions),), natural=natural)
    )
    assert "| 0.400 | 0.800 | 0.750 | 0.050 | 50.0 | 0.500 of 10 | 0.100 | 3.2 s |" in text
    assert "Recall, ravdess: neutral 0.750, angry 0.500." in text
    assert "| radio | 30.0 | 3 | 6.0 | sad: 3 | 0.700 | 0.020 |" in text
    assert "| ravdess | telephone | 7 | 0.900 | 0.950 | 0.100 | 0.300 | 0.400 | 0.750 |" in text
