"""Mutations of valid inputs, drawn from a seed: bytes flipped, cut, doubled, and values of JSON made impossible."""

import json
import random
from typing import Any

# What a field may be set to; each is harmless to whoever checks it.
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, -(2**63), 2**64, 10**400, 0.0, -0.0, 1e308, -1e308, 1e-320, 5e-324,
    "", " ", "\0", "\u202e", "\x1b[2J", "a" * 5_000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "NaN",
    [], {}, [[]], ["a"], {"a": {"b": []}},
)  # fmt: skip


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to four small accidents."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 1, 2, 4, 16, 64))
        match rng.randrange(6):
            case 0 if changed:
                changed[min(at, len(changed) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                changed[at : at + length] = rng.randbytes(length)
            case 4:
                del changed[at:]
            case _:
                changed[at:at] = rng.choice((b"\0", b"\xff", b"9" * 40, b"[" * 30, b"1e999", b"\n"))
    return bytes(changed)


def mutate_json(value: Any, rng: random.Random) -> Any:
    """`value` with one field, however deep, removed, doubled or set to something odd."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        changed = dict(value)
        match rng.randrange(5):
            case 0:
                del changed[key]
            case 1:
                changed[key + "x"] = changed[key]
            case _:
                changed[key] = mutate_json(changed[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        changed_list = list(value)
        changed_list[at] = mutate_json(changed_list[at], rng)
        return changed_list
    return rng.choice(_ODD)


def mutate_document(text: bytes, rng: random.Random) -> bytes:
    """A JSON document mutated in its values or in its bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(text, rng)
    return json.dumps(mutate_json(json.loads(text), rng)).encode()


def mutate_toml(text: str, rng: random.Random) -> bytes:
    """A TOML file with one value replaced, one line moved, or bytes changed."""
    lines = text.splitlines()
    with_value = [number for number, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    if rng.random() < 0.3 or not with_value:
        return mutate_bytes(text.encode(), rng)
    number = rng.choice(with_value)
    key = lines[number].partition("=")[0]
    odd = rng.choice(_ODD)
    written = json.dumps(odd) if odd is not None else "nan"
    lines[number] = f"{key}= {written}" if rng.random() < 0.8 else rng.choice((key, f"{key}x = 1", f"[{key}]"))
    return "\n".join(lines).encode()
