"""Project embeddings to two dimensions with PCA, t-SNE and UMAP."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from warnings import catch_warnings, simplefilter

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from streamer.arrays import FloatArray
from streamer.extras import install_command

SEED = 0
PERPLEXITY = 30.0  # van der Maaten and Hinton, 2008, recommend 5 to 50
MIN_RECORDINGS = 5  # fewer cannot be projected or clustered sensibly
UMAP_HINT = f"UMAP is left out because umap-learn is not installed; {install_command('umap')}."


@dataclass(frozen=True, slots=True)
class Projection:
    """Recordings as points in the plane."""

    name: str
    points: FloatArray  # [R, 2]
    axes: tuple[str, str]  # with units where there are any
    has_unit: bool = False  # whether distances mean anything


def standardized(embeddings: FloatArray) -> FloatArray:
    """Scale `[R, D]` to mean 0 and standard deviation 1 in every channel, so that all channels count alike."""
    scaled: FloatArray = StandardScaler().fit_transform(np.asarray(embeddings, dtype=np.float64))
    return scaled


def project(embeddings: FloatArray) -> list[Projection]:
    """Project standardised `embeddings [R, D]`, R >= 5, with PCA, t-SNE and, if installed, UMAP; seeds are fixed."""
    principal = PCA(n_components=min(50, *embeddings.shape), random_state=SEED).fit(embeddings)
    components = principal.transform(embeddings)  # [R, up to 50]: less noisy input for t-SNE and UMAP
    shares = principal.explained_variance_ratio_
    first, second = (f"component {index + 1} ({shares[index]:.0%} of variance)" for index in (0, 1))
    projections = [Projection("PCA", components[:, :2], (first, second), has_unit=True)]
    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    embedded = TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(components)
    projections.append(Projection("t-SNE", embedded, _without_units("t-SNE")))
    if umap_is_installed():
        projections.append(Projection("UMAP", _umap(components), _without_units("UMAP")))
    return projections


def umap_is_installed() -> bool:
    """Return whether umap-learn is installed, without importing it."""
    return find_spec("umap") is not None


def _umap(components: FloatArray) -> FloatArray:
    """Run UMAP (McInnes, Healy and Melville, 2018, arXiv 1802.03426) with its default settings."""
    with catch_warnings():
        simplefilter("ignore")  # it warns that tensorflow is missing and that a seed makes it slower
        umap = import_module("umap")  # slow: it loads a compiler
        mapper = umap.UMAP(n_neighbors=min(15, len(components) - 1), random_state=SEED, n_jobs=1)
        points: FloatArray = mapper.fit_transform(components)
        return points


def _without_units(name: str) -> tuple[str, str]:
    return f"{name} 1 (no unit)", f"{name} 2 (no unit)"
