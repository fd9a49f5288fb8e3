"""Compare a shard with the plain program, Ray's processes at rest, and `embed --ray` with a local run.

    python -m tests.fleet.measure shard [STREAMS] [SECONDS]    CPU time a stream, side by side in one run
    python -m tests.fleet.measure embed [CLIPS]                CPU time a clip, one after the other
    python -m tests.fleet.measure killed [CLIPS]               the same, and a run with Ray is killed half-way

That kills Ray's processes too, and lets another run finish. Prints JSON. Wall time says little on a machine that does
other things; CPU seconds of the processes are compared.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import psutil
import soundfile

from streamer.constants import SAMPLE_RATE
from streamer.decoding.files import read_whole
from streamer.sources.demo import DEMO
from tests.fleet.rig import FleetProgram, environment, short_folder, sources, write_table
from tests.support.real_broker import Mosquitto


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def shard(streams: int, seconds: float) -> dict[str, object]:
    """Run the same speaking streams in a shard and in `streamer run` at once; return their CPU times."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables = environment(stack.enter_context(short_folder()))
        port = stack.enter_context(sources(streams))
        broker = Mosquitto(folder).start()
        stack.callback(broker.stop)
        fleet = FleetProgram(
            variables, str(write_table(folder / "FLEET.toml", port, streams, 1, 2 * streams)), "--mqtt", broker.url
        )
        stack.callback(fleet.close)
        fleet.until(f"{streams} of {streams} streams served", 120)
        rows = "".join(
            f'[[stream]]\nname = "s{number}"\nsource = "http://127.0.0.1:{port}/{number}"\n'
            for number in range(streams)
        )
        (folder / "config.toml").write_text(rows)
        command = [sys.executable, "-m", "streamer", "run", "--headless", "--config", str(folder / "config.toml")]
        plain = subprocess.Popen([*command, "--mqtt", broker.url], env=variables, stdout=subprocess.DEVNULL)
        stack.callback(plain.kill)
        time.sleep(25.0)
        (actor,) = fleet.actors("ShardActor")
        (director,) = fleet.actors("DirectorActor")
        own = psutil.Process(fleet.process.pid)
        rays = [one for one in own.children(recursive=True) if one.pid not in (actor.pid, director.pid)]
        names = [one.name() for one in rays]
        watched = [actor, psutil.Process(plain.pid), director, *rays]
        before, began = [cpu_s(one) for one in watched], time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        spent = [cpu_s(one) - earlier for one, earlier in zip(watched, before, strict=True)]
        return {
            "streams": streams,
            "seconds": round(took, 1),
            "shard_cores": round(spent[0] / took, 4),
            "plain_cores": round(spent[1] / took, 4),
            "streams_a_core_of_plain": round(spent[1] / spent[0], 3),
            "director_cores": round(spent[2] / took, 4),
            "ray_cores": round(sum(spent[3:]) / took, 4),
            "of_ray": {name: round(one / took, 4) for name, one in zip(names, spent[3:], strict=True)},
        }


def embed(clips: int, *, kill: bool = False) -> dict[str, object]:
    """Embed the same clips here and with Ray; return the CPU seconds, and those of a run with nothing to do."""
    speech, rng = read_whole(DEMO), np.random.default_rng(3)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables = environment(stack.enter_context(short_folder()))
        (folder / "few").mkdir()
        (folder / "all").mkdir()
        for number in range(clips):
            begin = rng.integers(0, len(speech) - 3 * SAMPLE_RATE)
            clip = speech[begin : begin + 3 * SAMPLE_RATE] * rng.uniform(0.5, 1.0)
            soundfile.write(folder / "all" / f"{number:05}.wav", clip, SAMPLE_RATE)
            if number < 8:
                soundfile.write(folder / "few" / f"{number:05}.wav", clip, SAMPLE_RATE)
        spent: dict[str, float] = {}
        for where, options in (("local", ()), ("ray", ("--ray",))):
            for which in ("few", "all"):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                out = folder / f"{where}-{which}"
                command = [sys.executable, "-m", "streamer", "embed", str(folder / which), "-o", str(out)]
                with CpuOfTree(subprocess.Popen([*command, "--threads", "1", *options], env=variables)) as tree:
                    tree.wait()
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                spent[f"{where}_{which}"] = round(max(own, tree.cpu_s), 1)
        local, ray = (spent[f"{where}_all"] - spent[f"{where}_few"] for where in ("local", "ray"))
        same = np.array_equal(
            np.load(folder / "local-all" / "embeddings.npy"), np.load(folder / "ray-all" / "embeddings.npy")
        )
        return {
            "clips": clips,
            **spent,
            "ratio_after_start": round(ray / local, 3),
            "identical": bool(same),
            "killed_half_way": killed_half_way(folder, variables) if kill else None,
        }


def killed_half_way(folder: Path, variables: dict[str, str]) -> dict[str, object]:
    """Kill `embed --ray` of `folder`/all when half of it is written, and run it again; return what was redone."""
    out = folder / "ray-killed"
    command = [sys.executable, "-m", "streamer", "embed", str(folder / "all"), "-o", str(out), "--ray"]
    command += ["--threads", "1"]

    def parts() -> dict[Path, int]:
        """What is written whole, and when: names with a dot are still being written."""
        return {path: path.stat().st_mtime_ns for path in out.glob(".cache/*.parts/[!.]*.parquet")}

    whole = len(list((folder / "ray-all").glob(".cache/*.parts/*.parquet")))
    first = subprocess.Popen(command, env=variables, start_new_session=True)
    while len(parts()) < whole / 2:
        assert first.poll() is None, "it ended before it was killed"
        time.sleep(0.05)
    everything = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
    for process in everything:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    first.wait()
    psutil.wait_procs(everything, 20)
    before = parts()
    subprocess.run(command, env=variables, check=True)
    after = parts()
    same = np.array_equal(np.load(folder / "local-all" / "embeddings.npy"), np.load(out / "embeddings.npy"))
    return {
        "parts": len(after),
        "written_before": len(before),
        "written_again": sum(after.get(path) != moment for path, moment in before.items()),
        "identical": bool(same),
    }


class CpuOfTree:
    """CPU time of a process and all that it starts, also of those that do not become its children's parents."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._seen: dict[int, float] = {}

    def __enter__(self) -> "CpuOfTree":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()

    def wait(self) -> None:
        """Wait for the end, looking at the tree five times a second."""
        root = psutil.Process(self._process.pid)
        while self._process.poll() is None:
            try:
                for one in (root, *root.children(recursive=True)):
                    self._seen[one.pid] = max(self._seen.get(one.pid, 0.0), cpu_s(one))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.2)

    @property
    def cpu_s(self) -> float:
        return sum(self._seen.values())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    what, *numbers = sys.argv[1:]
    if what == "shard":
        found = shard(int(numbers[0]) if numbers else 6, float(numbers[1]) if numbers[1:] else 60.0)
    else:
        found = embed(int(numbers[0]) if numbers else 2_000, kill=what == "killed")
    print(json.dumps(found, indent=1))
