"""The shape of the repository."""

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
LARGE = {"streamer/checkpoints/bundled.safetensors"}  # files that may be larger than 1 MB


def test_no_tracked_file_is_larger_than_a_megabyte_but_the_listed_ones() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    files = [CHECKOUT / name for name in listed.split("\0") if name]
    large = {str(path.relative_to(CHECKOUT)) for path in files if path.is_file() and path.stat().st_size > 1_000_000}
    assert large == LARGE
