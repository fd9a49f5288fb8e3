"""Many machines: streams leased to shards on a Ray cluster, corpora through Ray Data.

Only `cluster`, `actors` and the two modules of corpora import Ray, and only when something is started.
"""
