"""Count what the model claims about the bundled recording; the figures are in the model card.

`python -m tests.sources.measure_demo` takes some ten seconds and prints the sentences for the card, then a table.
"""

from collections import Counter
from dataclasses import dataclass, field

from streamer import Monitor
from streamer.sources.demo import Caption, captions


@dataclass
class Part:
    """The windows whose middle lies in one part of the recording."""

    caption: Caption
    windows: int = 0
    claims: Counter[str] = field(default_factory=Counter)


def measure() -> tuple[list[Part], list[str]]:
    """Play the recording through the program; return its parts and the emotions that began."""
    parts = [Part(caption) for caption in captions()]
    begun = []
    with Monitor.open("demo", mqtt="off", fast=True) as monitor:
        for event in monitor:
            if event.type == "window" and not event.warming:
                middle_s = (event.start_s + event.end_s) / 2
                for part in parts:
                    if part.caption.start_s <= middle_s < part.caption.end_s:
                        part.windows += 1
                        part.claims.update([event.label] if event.label else [])
            elif event.type == "transition" and event.event_type == "emotion_started":
                begun.append(event.label)
    return parts, begun


def report(parts: list[Part], begun: list[str]) -> str:
    """Return the sentences for the model card, and a table."""
    spoken = [part for part in parts if part.caption.mood]
    windows, claims = sum(part.windows for part in spoken), sum((part.claims for part in spoken), Counter())
    meant = sum(part.claims[part.caption.mood] for part in spoken)
    silent = sum(part.claims.total() for part in parts if not part.caption.mood)
    shares = ", ".join(f"{label} {count / claims.total():.0%}" for label, count in claims.most_common())
    lines = [
        f"Of {windows} windows of 3 s with synthetic speech {claims.total() / windows:.0%} claim a label: {shares}.",
        f"{meant / max(1, claims.total()):.0%} of the claims are the mood that was meant (by chance 12.5 %).",
        f"{len(begun)} emotions begin in 71 s ({', '.join(begun)}); {silent} claims in the silence and the melody.",
        "",
        "| meant | voice | windows | claimed |",
        "|---|---|---|---|",
    ]
    for part in parts:
        claimed = ", ".join(f"{label} {count}" for label, count in part.claims.most_common()) or "nothing"
        who = part.caption.voice or part.caption.shown
        lines.append(f"| {part.caption.mood or '-'} | {who} | {part.windows} | {claimed} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(*measure()))
