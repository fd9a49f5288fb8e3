"""Sessions: events kept as daily files of JSON lines, and what is made of them later. See README.md.

Invariants: recording never holds up hearing; what a file cannot hold is counted and said; no audio is kept unless
`record.clips` asks for it.
"""
