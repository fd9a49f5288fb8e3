"""The tables of `streamer fleet status`."""

from streamer.commands.screen import Screen
from streamer.fleet.status import WORST, FleetStatus

_WELL = frozenset({"live", "silence", "warming"})  # streams that need nobody


def print_status(found: FleetStatus, most: int) -> None:
    """Print the shards, then at most `most` streams that need somebody, the worst first."""
    from rich.table import Table

    console = Screen(soft_wrap=True)
    console.print(f"{found.name}: {found.sentence}.", markup=False, highlight=False)
    for line in (found.problem, *(f"{one.name}: {one.problem}" for one in found.shards if one.problem)):
        if line:
            console.print(line, markup=False, highlight=False)
    table = Table("shard", "state", "host", "streams", "places", "capacity", "memory", title_justify="left")
    for shard in found.shards:
        memory = f"{shard.figures.get('memory_mb', 0):,.0f} MB" if shard.figures else ""
        numbers = (str(shard.streams), str(shard.places), str(shard.capacity))
        table.add_row(shard.name, shard.state, shard.host, *numbers, memory)
    console.print(table)
    counts = {word: sum(stream.status == word for stream in found.streams) for word in WORST}
    console.print(", ".join(f"{count:,} {word}" for word, count in counts.items() if count), highlight=False)
    needy = [stream for stream in found.streams if stream.status not in _WELL]
    for stream in needy[:most]:
        where = f" on {stream.shard}" if stream.shard else ""
        why = f": {stream.detail}, for {stream.waits_s:,.0f} s" if stream.detail else ""
        console.print(f"  {stream.name} {stream.status}{where}{why}", markup=False, highlight=False)
    if len(needy) > most:
        console.print(f"  and {len(needy) - most:,} more; --json lists all", markup=False, highlight=False)
