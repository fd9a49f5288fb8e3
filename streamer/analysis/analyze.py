"""Analyse a set of embeddings once, and present the results as pictures, tables and an HTML report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from streamer.analysis.cluster import Agreement, Clustering, cluster
from streamer.analysis.dataset import EmbeddingSet
from streamer.analysis.linear_probe import Probe, linear_probe
from streamer.analysis.plots import confusion_map, scatter, similarity_maps
from streamer.analysis.project import MIN_RECORDINGS, UMAP_HINT, project, standardized, umap_is_installed
from streamer.analysis.report import Page
from streamer.analysis.similarity import LabelSimilarity, Neighbour, find_recording, label_similarity, nearest
from streamer.analysis.statistics import Statistics, statistics
from streamer.errors import UsageError

CLUSTER_COLUMNS = ("method", "clusters", "noise", "silhouette", "labels", "speakers")
CLUSTER_TITLE = "Clusters and their agreement with labels and speakers (ARI / NMI)"
NEIGHBOUR_COLUMNS = ("recording", "label", "speaker", "cosine")
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Findings:
    """Results and pictures of one set."""

    numbers: Statistics
    clusterings: list[Clustering]
    similarity: LabelSimilarity | None
    probe: Probe | None
    neighbours_of: str | None  # the recording that `neighbours` belong to
    neighbours: list[Neighbour]
    pictures: dict[str, bytes]  # PNG by file stem


def analyze(embedded: EmbeddingSet, neighbours_of: str | None, on_step: Callable[[str], None]) -> Findings:
    """Run all analyses, with fixed seeds.

    Args:
        embedded: the set.
        neighbours_of: name of the recording whose nearest neighbours are wanted, if any.
        on_step: called with the name of each step before it starts.

    Raises:
        UsageError: the set is too small or of codes, or `neighbours_of` is not in it.
    """
    vectors = embedded.per_recording()
    distinct = len(np.unique(vectors, axis=0))
    if distinct < MIN_RECORDINGS:
        raise UsageError(f"{distinct} different recordings are too few to analyse; embed {MIN_RECORDINGS} or more.")
    reference = None if neighbours_of is None else find_recording(embedded.names, neighbours_of)
    points = standardized(vectors)
    labels, speakers = embedded.labels, embedded.speakers
    pictures = {}
    on_step("projections")
    for projection in project(points):
        for what, names in (("label", labels), ("speaker", speakers)):
            stem = f"{projection.name.lower().replace('-', '')}_by_{what}"
            pictures[stem] = scatter(projection, names, what)
    on_step("clusters")
    clusterings = cluster(points, labels, speakers)
    on_step("similarity of labels")
    similarity = label_similarity(points, labels)
    if similarity is not None:
        pictures["similarity"] = similarity_maps(similarity)
    on_step("linear probe")
    probe = linear_probe(vectors, labels, speakers)
    if probe is not None:
        pictures["probe"] = confusion_map(probe.confusion, probe.labels)
    return Findings(
        numbers=statistics(vectors, np.arange(len(vectors)), labels, speakers),
        clusterings=clusterings,
        similarity=similarity,
        probe=probe,
        neighbours_of=None if reference is None else embedded.names[reference],
        neighbours=[] if reference is None else nearest(points, reference, embedded.names, labels, speakers),
        pictures=pictures,
    )


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
    for name, explained in (("label", numbers.by_label), ("speaker", numbers.by_speaker)):
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


def write_page(findings: Findings, embedded: EmbeddingSet) -> str:
    """Return the report as HTML."""
    about = embedded.about
    known = [name for name in ("model", "kind", "pool", "bandwidth", "level") if about.get(name) is not None]
    settings = ", ".join(f"{name} {about[name]}" for name in known)
    page = Page("EnCodec embeddings", f"{len(embedded.names):,} recordings; {settings or 'settings unknown'}")
    page.table("In numbers", ("", ""), number_rows(findings))
    per_label = findings.numbers.per_label
    page.table(
        "Recordings", ("label", "recordings"), [[name or "not known", count] for name, count in per_label.items()]
    )
    page.heading("Projections")
    page.paragraph("Channels are standardised. In t-SNE and UMAP only near and far are meaningful, not distances.")
    for stem, png in findings.pictures.items():
        if "_by_" in stem:
            page.picture(png, stem.replace("_", " "))
    if not umap_is_installed():
        page.paragraph(UMAP_HINT)
    page.heading("Clusters")
    page.paragraph("ARI (adjusted Rand index), NMI (normalised mutual information): 0 is chance, 1 identical groups.")
    page.table(CLUSTER_TITLE, CLUSTER_COLUMNS, cluster_rows(findings.clusterings))
    if findings.similarity is not None:
        page.heading("Similarity of labels")
        page.picture(findings.pictures["similarity"], "cosine similarity and Euclidean distance between labels")
    if findings.probe is not None:
        page.heading("Linear probe")
        page.paragraph("Logistic regression, cross-validated over speakers: every speaker is held out once.")
        page.picture(findings.pictures["probe"], "confusion of the linear probe")
    if findings.neighbours_of is not None:
        page.heading(f"Nearest neighbours of {findings.neighbours_of}")
        page.table("Most similar first", NEIGHBOUR_COLUMNS, neighbour_rows(findings.neighbours))
    return page.html()


def _agreement(agreement: Agreement | None) -> str:
    return UNKNOWN if agreement is None else f"{agreement.adjusted_rand:.3f} / {agreement.mutual_information:.3f}"
