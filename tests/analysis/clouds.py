"""Synthetic embeddings with known structure, the files that `embed` would write, the first bytes of pictures."""

import json

import numpy as np

PNG = b"\x89PNG\r\n"
SVG = b"<?xml"


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


def write_set(folder, points, labels, speakers, rows=1, corpora=None):
    """As `embed` would; without `corpora` as its version 0.2 did."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "embeddings.npy", np.repeat(points, rows, axis=0).astype(np.float32))
    lines = [
        f"{i}.wav,{label},{speaker},1.0,24000,1,{i * rows},{rows},,{i}"
        + ("" if corpora is None else f",{corpora[i]},{folder.resolve()}/clips/{i}.wav")
        for i, (label, speaker) in enumerate(zip(labels, speakers, strict=True))
    ]
    head = "path,label,speaker,seconds,sample_rate_hz,channels,first_row,rows,note,sha256"
    head += "" if corpora is None else ",corpus,file"
    (folder / "metadata.csv").write_text("\n".join([head, *lines]) + "\n")
    (folder / "embed.json").write_text(json.dumps({"model": "<b>test</b>", "kind": "encoder", "pool": "mean"}))
    return folder
