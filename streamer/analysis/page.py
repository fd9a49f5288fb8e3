"""Present the findings of an analysis as tables and as an HTML report."""

from collections.abc import Sequence
from pathlib import Path

from streamer.analysis.analyze import Findings
from streamer.analysis.clip_map import map_data
from streamer.analysis.cluster import Agreement, Clustering
from streamer.analysis.dataset import EmbeddingSet
from streamer.analysis.project import UMAP_HINT, umap_is_installed
from streamer.analysis.report import Page
from streamer.analysis.similarity import Neighbour

CLUSTER_COLUMNS = ("method", "clusters", "noise", "silhouette", "labels", "speakers")
CLUSTER_TITLE = "Clusters and their agreement with labels and speakers (ARI / NMI)"
NEIGHBOUR_COLUMNS = ("recording", "label", "speaker", "cosine")
DISAGREEMENT_COLUMNS = ("recording", "label", "the probe says", "probability of its label", "speaker")
UNKNOWN = "-"


def cluster_rows(clusterings: Sequence[Clustering]) -> list[list[str]]:
    """Return a table row for each clustering, in the order of CLUSTER_COLUMNS."""
    rows = []
    for found in clusterings:
        silhouette = UNKNOWN if found.silhouette is None else f"{found.silhouette:.3f}"
        cells = [found.name, str(found.clusters), f"{found.noise:.0%}", silhouette]
        rows.append([*cells, _agreement(found.with_labels), _agreement(found.with_speakers)])
    return rows


def neighbour_rows(neighbours: Sequence[Neighbour]) -> list[list[str]]:
    """Return a table row for each neighbour, in the order of NEIGHBOUR_COLUMNS."""
    return [[one.name, one.label or UNKNOWN, one.speaker or UNKNOWN, f"{one.cosine:.3f}"] for one in neighbours]


def number_rows(findings: Findings) -> list[list[str]]:
    """Return the single figures as rows of name and value."""
    numbers, probe = findings.numbers, findings.probe
    rows = [["recordings x dimensions", f"{numbers.rows:,} x {numbers.width}"]]
    groups = {"label": numbers.by_label, "speaker": numbers.by_speaker, "corpus": numbers.by_corpus}
    for name, explained in groups.items():
        if explained is not None:
            share = f"{explained.share:.1%} (by chance {explained.by_chance:.1%}; {explained.groups} groups)"
            rows.append([f"variance explained by {name}", share])
    if probe is None:
        rows.append(["linear probe", "needs at least two labels and two speakers"])
        return rows
    mean, deviation = probe.uar_by_speaker
    rows.append(["linear probe, UAR", f"{probe.uar:.1%} (chance {probe.chance:.1%})"])
    rows.append(["linear probe, UAR by speaker", f"{mean:.1%} ± {deviation:.1%} over {probe.speakers} speakers"])
    rows.append(["linear probe, accuracy", f"{probe.accuracy:.1%} of {probe.recordings:,}, {probe.folds} folds"])
    return rows


def disagreement_rows(findings: Findings, embedded: EmbeddingSet) -> list[list[str]]:
    """Return a table row for each clip that disagrees with its label, in the order of DISAGREEMENT_COLUMNS."""
    probe = findings.probe
    if probe is None:
        return []
    return [
        [
            embedded.names[index],
            embedded.labels[index],
            probe.predicted[index],
            f"{probe.own_probability[index]:.3f}",
            embedded.speakers[index],
        ]
        for index in findings.disagreeing
    ]


def write_page(findings: Findings, embedded: EmbeddingSet, folder: Path) -> str:
    """Return the report as HTML, for a page that will lie in `folder`."""
    about = embedded.about
    known = [name for name in ("model", "kind", "pool", "bandwidth", "level") if about.get(name) is not None]
    settings = ", ".join(f"{name} {about[name]}" for name in known)
    page = Page("EnCodec embeddings", f"{len(embedded.names):,} recordings; {settings or 'settings unknown'}")
    if findings.within is not None:
        page.paragraph(f"The mean of each {findings.within} was taken away: what is shown differs within one.")
    if findings.warning:
        page.paragraph(findings.warning)
    page.heading("Projections")
    page.paragraph("Channels are standardised. In t-SNE and UMAP only near and far are meaningful, not distances.")
    page.clip_map(map_data(embedded, findings.projections, findings.probe, folder))
    page.paragraph("The same as pictures for papers, PNG and SVG, lies beside this file: pca_by_label.svg and others.")
    if not umap_is_installed():
        page.paragraph(UMAP_HINT)
    page.table("In numbers", ("", ""), number_rows(findings))
    per_label = findings.numbers.per_label
    page.table(
        "Recordings", ("label", "recordings"), [[name or "not known", count] for name, count in per_label.items()]
    )
    page.heading("Clusters")
    page.paragraph("ARI (adjusted Rand index), NMI (normalised mutual information): 0 is chance, 1 identical groups.")
    page.table(CLUSTER_TITLE, CLUSTER_COLUMNS, cluster_rows(findings.clusterings))
    if findings.similarity is not None:
        page.heading("Similarity of labels")
        page.picture(findings.pictures["similarity"].png, "cosine similarity and Euclidean distance between labels")
    _probe(page, findings, embedded)
    if findings.neighbours_of is not None:
        page.heading(f"Nearest neighbours of {findings.neighbours_of}")
        rows = neighbour_rows(findings.neighbours)
        clips = [neighbour.index for neighbour in findings.neighbours]
        page.table("Most similar first; a click plays one", NEIGHBOUR_COLUMNS, rows, clips)
    return page.html()


def _probe(page: Page, findings: Findings, embedded: EmbeddingSet) -> None:
    if findings.probe is None:
        return
    page.heading("Linear probe")
    page.paragraph("Logistic regression, cross-validated over speakers: every speaker is held out once.")
    page.picture(findings.pictures["probe"].png, "confusion of the linear probe")
    page.heading("Clips that disagree most with their label")
    page.paragraph(
        "What the probe takes for another label while the speaker is held out, the least probable of its own first. "
        "Listen before you believe either: the label may be wrong, the clip unusual, or the probe too simple."
    )
    if findings.disagreeing:
        rows = disagreement_rows(findings, embedded)
        page.table("A click plays one and marks it above", DISAGREEMENT_COLUMNS, rows, findings.disagreeing)
    else:
        page.paragraph("There is none.")


def _agreement(agreement: Agreement | None) -> str:
    return UNKNOWN if agreement is None else f"{agreement.adjusted_rand:.3f} / {agreement.mutual_information:.3f}"
