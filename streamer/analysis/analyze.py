"""Analyse a set of embeddings once; `page` presents the results."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamer.analysis.cluster import Clustering, cluster
from streamer.analysis.dataset import EmbeddingSet
from streamer.analysis.linear_probe import Probe, disagreements, linear_probe
from streamer.analysis.plots import Picture, confusion_map, scatter, similarity_maps
from streamer.analysis.project import MIN_RECORDINGS, Projection, project, standardized
from streamer.analysis.settings import Grouping
from streamer.analysis.similarity import LabelSimilarity, Neighbour, find_recording, label_similarity, nearest
from streamer.analysis.statistics import Statistics, centred_within, statistics
from streamer.errors import UsageError

DISAGREEMENTS = 30  # clips in the table of those that disagree most with their label


@dataclass(frozen=True, slots=True)
class Findings:
    """Results and pictures of one set."""

    numbers: Statistics
    within: Grouping | None  # whose means were taken away before anything else
    projections: list[Projection]
    clusterings: list[Clustering]
    similarity: LabelSimilarity | None
    probe: Probe | None
    disagreeing: list[int]  # indices of recordings that the probe takes for another label, the worst first
    neighbours_of: str | None  # the recording that `neighbours` belong to
    neighbours: list[Neighbour]
    pictures: dict[str, Picture]  # by file stem

    @property
    def warning(self) -> str:
        """One sentence where much of what can be seen is corpus against corpus; empty elsewhere."""
        corpora, labels = self.numbers.by_corpus, self.numbers.by_label
        if corpora is None or self.within is not None:
            return ""
        between = "" if labels is None else f", and {labels.share:.0%} between labels"
        return (
            f"The set holds {corpora.groups} corpora: {corpora.share:.0%} of the variance lies between them{between}. "
            "So the pictures, clusters and neighbours show corpus against corpus as well; `--within corpus` takes each "
            "corpus's own mean away first."
        )


def analyze(
    embedded: EmbeddingSet, neighbours_of: str | None, on_step: Callable[[str], None], within: Grouping | None = None
) -> Findings:
    """Run all analyses, with fixed seeds.

    Args:
        embedded: the set.
        neighbours_of: name of the recording whose nearest neighbours are wanted, if any.
        on_step: called with the name of each step before it starts.
        within: the mean of each corpus, or of each speaker, is taken away before anything else.

    Raises:
        UsageError: the set is too small or of codes, `neighbours_of` is not in it, or it has not two groups `within`
            which to look.
    """
    vectors = embedded.per_recording()
    distinct = len(np.unique(vectors, axis=0))
    if distinct < MIN_RECORDINGS:
        raise UsageError(f"{distinct} different recordings are too few to analyse; embed {MIN_RECORDINGS} or more.")
    reference = None if neighbours_of is None else find_recording(embedded.names, neighbours_of)
    labels, speakers, corpora = embedded.labels, embedded.speakers, embedded.corpora
    if within is not None:
        vectors = centred_within(vectors, _groups(embedded, within)).astype(np.float32)
    points = standardized(vectors)
    on_step("projections")
    projections = project(points)
    pictures = _projection_pictures(projections, embedded)
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
        numbers=statistics(vectors, np.arange(len(vectors)), labels, speakers, corpora),
        within=within,
        projections=projections,
        clusterings=clusterings,
        similarity=similarity,
        probe=probe,
        disagreeing=[] if probe is None else disagreements(probe, labels, DISAGREEMENTS),
        neighbours_of=None if reference is None else embedded.names[reference],
        neighbours=[] if reference is None else nearest(points, reference, embedded.names, labels, speakers),
        pictures=pictures,
    )


def _groups(embedded: EmbeddingSet, within: Grouping) -> list[str]:
    groups = embedded.corpora if within == "corpus" else embedded.speakers
    if len(set(groups)) < 2:
        what = "one corpus" if within == "corpus" else "one speaker"
        raise UsageError(
            f"The set holds {what}, or none that is known, so there is nothing to look within; leave --within out."
        )
    return groups


def _projection_pictures(projections: list[Projection], embedded: EmbeddingSet) -> dict[str, Picture]:
    """Return each projection by label, by speaker, and by corpus where there are several."""
    by = {"label": embedded.labels, "speaker": embedded.speakers}
    if len(set(embedded.corpora) - {""}) > 1:
        by["corpus"] = embedded.corpora
    return {
        f"{projection.name.lower().replace('-', '')}_by_{what}": scatter(projection, names, what)
        for projection in projections
        for what, names in by.items()
    }
