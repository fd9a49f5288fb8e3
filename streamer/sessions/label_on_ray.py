"""Label recordings in processes on all machines of a Ray cluster.

An actor writes the journal and the table of a recording where a local run does, in a folder that every node sees. What
travels through Ray is names, and the summary of each recording.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from streamer.errors import StreamerError
from streamer.fleet.batches import spread
from streamer.sessions.label_folder import DIED
from streamer.sessions.labelling import Job, Labeller, Report
from streamer.settings import Settings


def label_on_ray(jobs: Sequence[Job], settings: Settings) -> Iterator[Report]:
    """Yield the last report of each job. Implements `label_folder.Runner`."""
    left = {job.name for job in jobs}
    for report in spread(jobs, partial(_make, settings), settings.model.threads) if jobs else ():
        left.discard(report.name)
        yield report
    for name in sorted(left):
        yield Report(0, name, failure=DIED)


def _make(settings: Settings) -> Callable[[Job], Report]:
    return partial(_label, Labeller(settings))


def _label(labeller: Labeller, job: Job) -> Report:
    try:
        return Report(0, job.name, labelled=labeller.label(job, lambda seconds: None))
    except (StreamerError, OSError) as error:
        return Report(0, job.name, failure=str(error))
