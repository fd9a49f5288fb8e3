"""A Ray cluster of two nodes on this machine, by Ray's own utility for that; for the campaign.

    python -m tests.fleet.two_nodes

Prints the address, the first node's id and where Ray's dashboard is, which runs where `ray[default]` is installed; then
obeys lines: `kill` ends the second node's raylet with SIGKILL, `again` adds another.
"""

import json
import signal
import sys
from importlib.util import find_spec

from ray.cluster_utils import Cluster

STORE_BYTES = 80 * 2**20


def main() -> None:
    options = {"object_store_memory": STORE_BYTES, "include_dashboard": find_spec("aiohttp_cors") is not None}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **options})
    second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    head = cluster.head_node
    found = {"address": cluster.address, "first": head.node_id, "dashboard": head.webui_url or ""}
    print(json.dumps(found), flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            second.all_processes["raylet"][0].process.send_signal(signal.SIGKILL)
        else:
            cluster.remove_node(second, allow_graceful=False)  # what is left of it
            second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, wait=False)
        print(json.dumps({"done": line.strip()}), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
