"""`streamer analyze`: the tables, the pictures and the report."""

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from streamer.analysis.project import UMAP_HINT
from streamer.commands.analyze import run_analyze
from streamer.errors import StreamerError, UsageError
from tests.analysis.clouds import PNG, SVG, cloud, write_set
from tests.conftest import missing
from tests.support.browser import chromium


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
    assert len(page.found) >= 2
    assert all(link.startswith("data:image/png;base64,") for link in page.found)
    assert "@import" not in html
    assert "url(" not in html
    text = " ".join(page.text)
    for word in ("Projections", "K-means", "DBSCAN", "silhouette", "Linear probe", "Nearest neighbours of 3.wav"):
        assert word in text
    assert "<b>test</b>" in text  # escaped: shown as text
    for stem in ("pca_by_label", "pca_by_speaker", "tsne_by_label", "similarity", "probe"):
        assert (tmp_path / "set" / "analysis" / f"{stem}.png").read_bytes().startswith(PNG)
        assert (tmp_path / "set" / "analysis" / f"{stem}.svg").read_bytes().startswith(SVG)
    printed = capsys.readouterr().out
    assert "linear probe, UAR" in printed
    assert "report.html" in printed


def test_a_command_to_copy_stays_on_one_line_of_a_narrow_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    run_analyze(write_set(tmp_path / "set", *cloud()))
    assert UMAP_HINT in capsys.readouterr().err.splitlines()


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


def two_corpora(tmp_path, apart=8.0):
    """Fifteen clips of each of four speakers, two a corpus, and the corpora far from each other."""
    points, labels, speakers = cloud()
    corpora = ["crema-d" if speaker in ("speaker0", "speaker1") else "ravdess" for speaker in speakers]
    points[np.array(corpora) == "ravdess"] += apart
    return write_set(tmp_path / "set", points, labels, speakers, corpora=corpora)


def clips_of(html):
    return json.loads(re.search(r'<script type="application/json" id="clips">(.*?)</script>', html)[1])


def test_a_set_of_several_corpora_says_how_much_is_corpus_against_corpus_and_looks_within(tmp_path, capsys):
    folder = two_corpora(tmp_path)
    run_analyze(folder)
    printed = " ".join("".join(capsys.readouterr()).split())
    share = int(re.search(r"The set holds 2 corpora: (\d+)% of the variance lies between them", printed)[1])
    assert share > 20
    assert "`--within corpus` takes each corpus's own mean away first" in printed
    assert (folder / "analysis" / "pca_by_corpus.svg").exists()
    run_analyze(folder, within="corpus", out=tmp_path / "within")
    printed = " ".join("".join(capsys.readouterr()).split())
    assert "The set holds 2 corpora" not in printed
    assert "variance explained by corpus │ 0.0%" in printed
    with pytest.raises(UsageError, match="one corpus, or none that is known"):
        run_analyze(write_set(tmp_path / "alone", *cloud()), within="corpus")


def test_the_clips_that_disagree_most_with_their_label_are_listed_worst_first(tmp_path):
    points, labels, speakers = cloud(apart=9.0)
    labels[7], labels[25] = "label2", "label0"  # they lie among those of label0 and label1
    run_analyze(write_set(tmp_path / "set", points, labels, speakers, corpora=["own"] * len(labels)))
    html = (tmp_path / "set" / "analysis" / "report.html").read_text()
    table = html[html.index("Clips that disagree most") :]
    rows = re.findall(r'<tr data-clip="(\d+)" tabindex="0"><td[^>]*>(.*?)</td><td>(.*?)</td><td>(.*?)</td>', table)
    assert {row[:2] for row in rows[:2]} == {("7", "7.wav"), ("25", "25.wav")}
    assert ("7", "7.wav", "label2", "label0") in rows


def test_the_map_names_every_clip_and_finds_its_file_from_the_page(tmp_path):
    run_analyze(two_corpora(tmp_path), out=tmp_path / "else" / "where")
    data = clips_of((tmp_path / "else" / "where" / "report.html").read_text())
    assert len(data["clips"]) == len(data["projections"][0]["points"]) == 60
    assert data["clips"][3]["src"] == "../../set/clips/3.wav"
    assert data["clips"][3].keys() == {"name", "label", "speaker", "corpus", "seconds", "src", "predicted"}
    assert [one["name"] for one in data["projections"]] == ["PCA", "t-SNE"]


def test_a_name_cannot_break_out_of_the_data(tmp_path):
    points, labels, speakers = cloud()
    labels = [label.replace("label", "</script><script>alert(1)//") for label in labels]
    run_analyze(write_set(tmp_path / "set", points, labels, speakers))
    html = (tmp_path / "set" / "analysis" / "report.html").read_text()
    assert "<script>alert" not in html
    assert clips_of(html)["clips"][0]["label"] == labels[0]


@pytest.mark.real
def test_in_a_browser_a_clip_is_named_played_marked_and_filtered(tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        missing("chromium", "install the package chromium")
    folder = two_corpora(tmp_path)
    (folder / "clips").mkdir()
    for index in range(60):
        soundfile.write(folder / "clips" / f"{index}.wav", np.zeros(2_400), 24_000)
    run_analyze(folder)
    report = folder / "analysis" / "report.html"
    script = """<script>
      const log = [], map = document.getElementById("map"), box = map.getBoundingClientRect();
      const at = (kind, x, y) => map.dispatchEvent(new MouseEvent(kind, {clientX: box.left + x, clientY: box.top + y}));
      search: for (let x = 0; x < box.width; x += 10) for (let y = 0; y < box.height; y += 10) {
        at("mousemove", x, y);
        if (!document.getElementById("tip").hidden) { at("click", x, y); break search; }
      }
      log.push(document.getElementById("tip").textContent, document.getElementById("said").textContent);
      const label = document.getElementById("label"), count = document.getElementById("count");
      label.value = "label1"; label.dispatchEvent(new Event("change")); log.push(count.textContent);
      label.value = "*"; label.dispatchEvent(new Event("change"));
      document.querySelector("#legend button").click(); log.push(count.textContent);
      document.title = JSON.stringify(log);
    </script></body>"""
    report.write_text(report.read_text().replace("</body>", script))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=2000", "--dump-dom", report.as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    tip, said, filtered, without_one = json.loads(unescape(re.search(r"<title>(.*?)</title>", done.stdout)[1]))
    assert re.fullmatch(r"\d+\.wavlabel\d · speaker speaker\d · (crema-d|ravdess) · 1 s · the probe says label\d", tip)
    assert said.replace(": ", "") == tip
    assert filtered == "20 of 60 clips shown"
    assert without_one == "40 of 60 clips shown"
    assert "net::ERR" not in done.stderr


@pytest.mark.real
@pytest.mark.parametrize("width", [1280, 390])
def test_on_a_phone_the_report_is_not_scrolled_sideways(tmp_path, width):
    folder = two_corpora(tmp_path)
    run_analyze(folder, neighbours_of="3.wav")
    with chromium(tmp_path) as page:
        page.resize(width, 800)
        page.open((folder / "analysis" / "report.html").as_uri())
        page.until("document.getElementById('count')?.textContent")
        assert page.value("document.documentElement.scrollWidth") <= width
        assert page.value("document.getElementById('map').clientWidth") <= width
        assert page.value("[...document.querySelectorAll('table')].at(-1).rows.length") > 2
