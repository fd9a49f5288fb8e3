"""`streamer analyze`: the tables, the pictures and the report."""

from html.parser import HTMLParser

import numpy as np
import pytest

from streamer.commands.analyze import run_analyze
from streamer.errors import StreamerError, UsageError
from tests.analysis.clouds import PNG, cloud, write_set


class Links(HTMLParser):
    """Everything a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.found, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in {"src", "href", "srcset", "data"}]

    def handle_data(self, data):
        self.text.append(data)


def test_the_report_needs_no_network_and_shows_everything(tmp_path, capsys):
    run_analyze(write_set(tmp_path / "set", *cloud()), neighbours_of="3.wav")
    html = (tmp_path / "set" / "analysis" / "report.html").read_text()
    page = Links()
    page.feed(html)
    assert len(page.found) >= 6
    assert all(link.startswith("data:image/png;base64,") for link in page.found)
    assert "@import" not in html
    assert "url(" not in html
    text = " ".join(page.text)
    for word in ("Projections", "K-means", "DBSCAN", "silhouette", "Linear probe", "Nearest neighbours of 3.wav"):
        assert word in text
    assert "<b>test</b>" in text  # escaped: shown as text
    for stem in ("pca_by_label", "pca_by_speaker", "tsne_by_label", "similarity", "probe"):
        assert (tmp_path / "set" / "analysis" / f"{stem}.png").read_bytes().startswith(PNG)
    printed = capsys.readouterr().out
    assert "linear probe, UAR" in printed
    assert "report.html" in printed


def test_without_labels_and_speakers_what_can_be_seen_is_seen(tmp_path):
    points, labels, _ = cloud()
    run_analyze(write_set(tmp_path / "set", points, [""] * len(labels), [""] * len(labels)), out=tmp_path / "report")
    html = (tmp_path / "report" / "report.html").read_text()
    assert "DBSCAN" in html
    assert "needs at least two labels and two speakers" in html


def test_sets_that_cannot_be_analysed_are_refused_with_the_cure(tmp_path):
    with pytest.raises(UsageError, match="streamer embed"):
        run_analyze(tmp_path)
    with pytest.raises(UsageError, match="too few"):
        run_analyze(write_set(tmp_path / "few", np.eye(3), ["a"] * 3, ["b"] * 3))
    codes = write_set(tmp_path / "codes", *cloud(each=1))
    np.save(codes / "embeddings.npy", np.zeros((12, 8), dtype=np.int16))
    with pytest.raises(UsageError, match="--kind encoder or quantized"):
        run_analyze(codes)
    np.save(codes / "embeddings.npy", np.zeros((11, 8), dtype=np.float32))
    with pytest.raises(StreamerError, match="not from one run"):
        run_analyze(codes)
