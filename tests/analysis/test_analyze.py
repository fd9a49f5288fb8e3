"""What a set of embeddings shows: known structure is found, and told in tables, pictures and one page."""

import json
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from streamer.analysis.cluster import agreement, cluster
from streamer.analysis.linear_probe import linear_probe
from streamer.analysis.plots import COLOURS, MARKERS, _look, confusion_map, scatter, similarity_maps
from streamer.analysis.project import Projection, project, standardized
from streamer.analysis.report import Page
from streamer.analysis.similarity import find_recording, label_similarity, nearest
from streamer.analysis.statistics import statistics, variance_explained
from streamer.commands.analyze import run_analyze
from streamer.errors import StreamerError, UsageError

PNG = b"\x89PNG\r\n"


@pytest.fixture(autouse=True)
def _without_umap(monkeypatch):
    """It compiles for half a minute."""
    monkeypatch.setattr("streamer.analysis.project.find_spec", lambda name: None)


def cloud(labels=3, speakers=4, each=5, apart=6.0, seed=0):
    """Recordings around one centre a label, and who spoke them."""
    rng = np.random.default_rng(seed)
    centres = apart * rng.normal(size=(labels, 16))
    points, names, voices = [], [], []
    for label in range(labels):
        for speaker in range(speakers):
            points.append(centres[label] + rng.normal(size=(each, 16)))
            names += [f"label{label}"] * each
            voices += [f"speaker{speaker}"] * each
    return np.concatenate(points), names, voices


def write_set(folder, points, labels, speakers, rows=1):
    """As `embed` would."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "embeddings.npy", np.repeat(points, rows, axis=0).astype(np.float32))
    lines = [
        f"{i}.wav,{label},{speaker},1.0,24000,1,{i * rows},{rows},,{i}"
        for i, (label, speaker) in enumerate(zip(labels, speakers, strict=True))
    ]
    head = "path,label,speaker,seconds,sample_rate_hz,channels,first_row,rows,note,sha256"
    (folder / "metadata.csv").write_text("\n".join([head, *lines]) + "\n")
    (folder / "embed.json").write_text(json.dumps({"model": "<b>test</b>", "kind": "encoder", "pool": "mean"}))
    return folder


def test_variance_explained_is_all_between_points_and_none_between_equal_means():
    groups = np.array(["a", "a", "b", "b"])
    apart = np.array([[0.0, 1.0], [0.0, 1.0], [3.0, 5.0], [3.0, 5.0]])
    assert variance_explained(apart, groups).share == pytest.approx(1)
    alike = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    assert variance_explained(alike, groups).share == pytest.approx(0)
    assert variance_explained(apart, np.array(["a"] * 4)) is None
    assert variance_explained(np.ones((4, 2)), groups) is None


def test_variance_explained_leaves_rows_without_a_name_out():
    points = np.array([[0.0], [0.0], [1.0], [1.0], [99.0]])
    explained = variance_explained(points, np.array(["a", "a", "b", "b", ""]))
    assert explained.share == pytest.approx(1)
    assert explained.groups == 2


def test_random_groups_explain_what_chance_explains():
    rng = np.random.default_rng(0)
    explained = variance_explained(rng.normal(size=(2_000, 32)), rng.integers(0, 20, 2_000).astype(str))
    assert explained.share == pytest.approx(explained.by_chance, rel=0.1)


def test_statistics_count_recordings_and_measure_rows():
    rows = np.array([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]], dtype=np.float32)
    numbers = statistics(rows, np.array([0, 0, 1]), ["a", "b"], ["", ""])
    assert numbers.per_label == {"a": 1, "b": 1}
    assert (numbers.norms.largest, numbers.norms.smallest) == (5, 0)
    assert numbers.by_speaker is None


def test_clusters_that_are_there_are_found_and_are_the_labels():
    points, labels, speakers = cloud()
    for found in cluster(standardized(points), labels, speakers):
        assert found.clusters == 3
        assert found.silhouette > 0.4
        assert found.with_labels.adjusted_rand > 0.6  # DBSCAN leaves some points out
        assert found.with_speakers.adjusted_rand < 0.1


def test_agreement_with_one_name_or_none_is_not_claimed():
    assert agreement(np.array([0, 1, 0]), ["a", "a", ""]) is None


def test_projections_keep_groups_together_and_repeat_themselves():
    points, labels, _ = cloud()
    labels = np.array(labels)
    for projection, again in zip(project(standardized(points)), project(standardized(points)), strict=True):
        assert projection.points.shape == (len(points), 2)
        np.testing.assert_array_equal(projection.points, again.points)
        middles = np.stack([projection.points[labels == label].mean(0) for label in np.unique(labels)])
        distances = np.linalg.norm(projection.points[:, None] - middles, axis=2)
        assert (np.unique(labels)[distances.argmin(1)] == labels).all()


def test_umap_is_a_third_projection_where_it_is_installed(monkeypatch):
    class Umap:
        def __init__(self, n_neighbors, random_state, n_jobs):
            assert n_neighbors < 15  # fewer than there are recordings

        def fit_transform(self, components):
            return components[:, :2]

    monkeypatch.setattr("streamer.analysis.project.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    points, _, _ = cloud(each=1)
    assert [projection.name for projection in project(standardized(points))] == ["PCA", "t-SNE", "UMAP"]


def test_labels_are_more_like_themselves_than_each_other():
    points, labels, _ = cloud()
    similarity = label_similarity(standardized(points), [*labels[:-1], ""])
    assert similarity.labels == ("label0", "label1", "label2")
    for row in range(3):
        assert similarity.cosine[row].argmax() == row
        assert similarity.euclidean[row].argmin() == row
    np.testing.assert_allclose(similarity.cosine, similarity.cosine.T)


def test_likeness_is_the_mean_over_pairs():
    points = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    similarity = label_similarity(points, ["a", "a", "b", "b"])
    np.testing.assert_allclose(similarity.cosine, [[0, -0.5], [-0.5, 0]], atol=1e-12)
    across = (2 + np.sqrt(2)) / 2
    np.testing.assert_allclose(similarity.euclidean, [[np.sqrt(2), across], [across, np.sqrt(2)]])


def test_nearest_neighbours_come_in_order_and_without_the_one_itself():
    points = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 1.0], [-1.0, 0.0]])
    found = nearest(points, 0, ["w", "x", "y", "z"], [""] * 4, [""] * 4, count=2)
    assert [one.name for one in found] == ["x", "y"]
    assert found[1].cosine == pytest.approx(np.sqrt(0.5))


def test_a_recording_is_found_by_its_name_or_the_end_of_it():
    names = ["ann/1.wav", "bob/1.wav", "bob/2.wav"]
    assert find_recording(names, "bob/1.wav") == 1
    assert find_recording(names, "2.wav") == 2
    assert find_recording(names, "/data/set/ann/1.wav") == 0
    with pytest.raises(UsageError, match="2 recordings are called"):
        find_recording(names, "1.wav")
    with pytest.raises(UsageError, match="No recording"):
        find_recording(names, "3.wav")


def test_the_probe_recognises_what_is_linear():
    points, labels, speakers = cloud()
    probe = linear_probe(points, labels, speakers)
    assert probe.uar == probe.accuracy == 1.0
    assert probe.chance == pytest.approx(1 / 3)
    assert probe.confusion.tolist() == [[20, 0, 0], [0, 20, 0], [0, 0, 20]]


def test_the_probe_is_not_fooled_by_voices():
    """Each speaker says one label only, in a place of their own: for unheard speakers that tells nothing."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(8), 10)
    points = 20 * rng.normal(size=(8, 16))[speakers] + rng.normal(size=(80, 16))
    probe = linear_probe(points, [f"label{speaker % 2}" for speaker in speakers], [str(s) for s in speakers])
    assert probe.uar < 0.8


@pytest.mark.parametrize(
    ("labels", "speakers"), [(["a"] * 6, list("xyxyxy")), (list("ababab"), ["x"] * 6), ([""] * 6, [""] * 6)]
)
def test_where_nothing_can_be_learned_no_probe_is_claimed(labels, speakers):
    assert linear_probe(np.random.default_rng(0).normal(size=(6, 4)), labels, speakers) is None


def test_forty_names_look_different_from_each_other():
    assert len({_look(place) for place in range(40)}) == 40
    assert len({_look(place)[1] for place in range(len(MARKERS))}) == len(COLOURS)


def test_pictures_are_drawn_for_many_few_and_unknown_names():
    projection = Projection("PCA", np.random.default_rng(0).normal(size=(60, 2)), ("x (no unit)", "y (no unit)"))
    for names in ([f"n{place}" for place in range(60)], ["a"] * 60, [""] * 60):
        assert scatter(projection, names, "label").startswith(PNG)
    points, labels, _ = cloud()
    assert similarity_maps(label_similarity(points, labels)).startswith(PNG)
    assert confusion_map(np.eye(3, dtype=np.int64), ["a", "b", "c"]).startswith(PNG)


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
    assert "<b>test</b>" in text  # escaped: shown, not obeyed
    for stem in ("pca_by_label", "pca_by_speaker", "tsne_by_label", "similarity", "probe"):
        assert (tmp_path / "set" / "analysis" / f"{stem}.png").read_bytes().startswith(PNG)
    told = capsys.readouterr().out
    assert "linear probe, UAR" in told
    assert "report.html" in told


def test_without_labels_and_speakers_what_can_be_seen_is_seen(tmp_path):
    points, labels, _ = cloud()
    run_analyze(write_set(tmp_path / "set", points, [""] * len(labels), [""] * len(labels)), out=tmp_path / "report")
    html = (tmp_path / "report" / "report.html").read_text()
    assert "DBSCAN" in html
    assert "needs two labels and two speakers" in html


def test_the_same_recording_may_be_there_more_than_once():
    points, labels, speakers = cloud(labels=2, speakers=3, each=1)
    twice = np.concatenate([points, points])
    assert cluster(standardized(twice), labels * 2, speakers * 2)[0].clusters == 2


def test_frames_count_by_their_mean(tmp_path):
    from streamer.analysis.dataset import read_set

    points, labels, speakers = cloud(each=2)
    frames = read_set(write_set(tmp_path / "frames", points, labels, speakers, rows=3))
    np.testing.assert_allclose(frames.per_recording(), points, rtol=1e-5)


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
    with pytest.raises(StreamerError, match="not of one run"):
        run_analyze(codes)


def test_whatever_a_page_is_given_it_escapes():
    page = Page("<i>", "&")
    page.heading("<script>")
    page.table("<t>", ("<c>",), [["<d>"]])
    page.picture(PNG, '"><script>')
    assert "<script>" not in page.html()
    assert "<d>" not in page.html()
