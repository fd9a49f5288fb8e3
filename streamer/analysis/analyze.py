"""All that can be seen in a set of embeddings, computed once and told in pictures, tables and one page."""

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
CLUSTER_TITLE = "Clusters, and how they agree with labels and speakers (ARI / NMI)"
NEIGHBOUR_COLUMNS = ("recording", "label", "speaker", "cosine")
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Findings:
    """Numbers and pictures of one set."""

    numbers: Statistics
    clusterings: list[Clustering]
    similarity: LabelSimilarity | None
    probe: Probe | None
    asked: str | None  # the recording whose neighbours were asked for
    neighbours: list[Neighbour]
    pictures: dict[str, bytes]  # PNG by the stem of its file


def analyze(embedded: EmbeddingSet, neighbours_of: str | None, on_step: Callable[[str], None]) -> Findings:
    """Everything, with fixed seeds. `on_step` is told what comes next.

    Raises:
        UsageError: the set is too small or of codes, or `neighbours_of` is not in it.
    """
    vectors = embedded.per_recording()
    different = len(np.unique(vectors, axis=0))
    if different < MIN_RECORDINGS:
        raise UsageError(f"{different} different recordings are too few to analyse; embed {MIN_RECORDINGS} or more.")
    asked = None if neighbours_of is None else find_recording(embedded.names, neighbours_of)
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
    on_step("likeness")
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
        asked=None if asked is None else embedded.names[asked],
        neighbours=[] if asked is None else nearest(points, asked, embedded.names, labels, speakers),
        pictures=pictures,
    )


def cluster_rows(clusterings: Sequence[Clustering]) -> list[list[str]]:
    """A line for each clustering, as text, in the order of CLUSTER_COLUMNS."""
    rows = []
    for found in clusterings:
        silhouette = UNKNOWN if found.silhouette is None else f"{found.silhouette:.3f}"
        told = [found.name, str(found.clusters), f"{found.noise:.0%}", silhouette]
        rows.append([*told, _agreement(found.with_labels), _agreement(found.with_speakers)])
    return rows


def neighbour_rows(neighbours: Sequence[Neighbour]) -> list[list[str]]:
    """A line for each neighbour, as text, in the order of NEIGHBOUR_COLUMNS."""
    return [[one.name, one.label or UNKNOWN, one.speaker or UNKNOWN, f"{one.cosine:.3f}"] for one in neighbours]


def number_rows(findings: Findings) -> list[list[str]]:
    """What is known in single numbers: name and value."""
    numbers, probe = findings.numbers, findings.probe
    rows = [["recordings x dimensions", f"{numbers.rows:,} x {numbers.width}"]]
    for name, explained in (("label", numbers.by_label), ("speaker", numbers.by_speaker)):
        if explained is not None:
            share = f"{explained.share:.1%} (by chance {explained.by_chance:.1%}; {explained.groups} groups)"
            rows.append([f"variance explained by {name}", share])
    if probe is None:
        rows.append(["linear probe", "needs two labels and two speakers or more"])
        return rows
    mean, deviation = probe.uar_by_speaker
    rows.append(["linear probe, UAR", f"{probe.uar:.1%} (chance {probe.chance:.1%})"])
    rows.append(["linear probe, UAR by speaker", f"{mean:.1%} ± {deviation:.1%} over {probe.speakers} speakers"])
    rows.append(["linear probe, accuracy", f"{probe.accuracy:.1%} of {probe.recordings:,}, {probe.folds} folds"])
    return rows


def write_page(findings: Findings, embedded: EmbeddingSet) -> str:
    """The report, as HTML."""
    about = embedded.about
    known = [name for name in ("model", "kind", "pool", "bandwidth", "level") if about.get(name) is not None]
    made = ", ".join(f"{name} {about[name]}" for name in known)
    page = Page("EnCodec embeddings", f"{len(embedded.names):,} recordings; {made or 'of unknown making'}")
    page.table("In numbers", ("", ""), number_rows(findings))
    per_label = findings.numbers.per_label
    page.table(
        "Recordings", ("label", "recordings"), [[name or "not known", count] for name, count in per_label.items()]
    )
    page.heading("Projections")
    page.paragraph("Of standardised channels. Distances in t-SNE and UMAP mean little beyond near and far.")
    for stem, png in findings.pictures.items():
        if "_by_" in stem:
            page.picture(png, stem.replace("_", " "))
    if not umap_is_installed():
        page.paragraph(UMAP_HINT)
    page.heading("Clusters")
    page.paragraph("ARI (adjusted Rand index) and NMI (normalised mutual information): 0 is chance, 1 the same groups.")
    page.table(CLUSTER_TITLE, CLUSTER_COLUMNS, cluster_rows(findings.clusterings))
    if findings.similarity is not None:
        page.heading("Likeness of labels")
        page.picture(findings.pictures["similarity"], "cosine similarity and Euclidean distance between labels")
    if findings.probe is not None:
        page.heading("Linear probe")
        page.paragraph("Logistic regression; every speaker is judged by one that never heard them.")
        page.picture(findings.pictures["probe"], "confusion of the linear probe")
    if findings.asked is not None:
        page.heading(f"Nearest neighbours of {findings.asked}")
        page.table("Most alike first", NEIGHBOUR_COLUMNS, neighbour_rows(findings.neighbours))
    return page.html()


def _agreement(agreement: Agreement | None) -> str:
    return UNKNOWN if agreement is None else f"{agreement.adjusted_rand:.3f} / {agreement.mutual_information:.3f}"
