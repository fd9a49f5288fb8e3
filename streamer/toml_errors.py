"""Read a TOML file, and say in words what is wrong where it cannot be read."""

import codecs
import re
import tomllib
from pathlib import Path
from typing import Any

from streamer.errors import UsageError
from streamer.plain_text import without_credentials

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_toml(path: Path, named_by: str = "") -> dict[str, Any]:
    """Return the tables of the file at `path`.

    Args:
        path: the file; a byte order mark at its start is no harm.
        named_by: the variable that named it, for the message where it is missing; empty: the user did.

    Raises:
        UsageError: it is missing, not a file, not UTF-8 text or not TOML; the message names the cure.
    """
    text = _text(path, named_by)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {_explain(error, text)}") from None


def _text(path: Path, named_by: str) -> str:
    names = f"{named_by} names" if named_by else "this is"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such configuration file; {_cure_of_missing(path, named_by)}.") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: {names} a folder, and a settings file is wanted{_file_in(path)}.") from None
    except OSError as error:
        raise UsageError(f"{path}: the settings file cannot be read: {error.strerror}.") from None
    if data.startswith(_UTF_16):
        raise UsageError(f"{path}: the file is UTF-16 text; save it as UTF-8, which the editor offers in `Save as`.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}: line {line} is not UTF-8 text; save the file as UTF-8, which the editor offers in `Save as`."
        ) from None


def _cure_of_missing(path: Path, named_by: str) -> str:
    folder = path.expanduser().parent
    if str(path).startswith("~"):
        return f"write the path out instead of ~, as in {path.expanduser()}"
    if not folder.is_dir():
        return f"{folder} is no folder either; check {named_by or 'the path'}"
    return f"check {named_by or 'the path'}"


def _file_in(folder: Path) -> str:
    inside = folder / "config.toml"
    return f", such as {inside}" if inside.is_file() else ""


def _explain(error: tomllib.TOMLDecodeError, text: str) -> str:
    """Return what is wrong in `text`, and how that line is written; TOML's own words where the mistake is unusual."""
    found = re.search(r"\(at line (\d+), column \d+\)", str(error))
    lines = text.splitlines()
    number = int(found.group(1)) if found else len(lines)
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    why = re.sub(r" \(at .*\)$", "", str(error))
    cure = without_credentials(_cure(line, why)) or why[0].lower() + why[1:]
    if "password" in line.lower():  # neither a password nor a part of one is quoted
        return f"line {number} is not valid TOML: text needs quotes, in pairs, and none inside."
    return f"line {number}: {without_credentials(line)[:80]} is not valid TOML: {cure}."


def _cure(line: str, why: str) -> str:
    if any(mark in line for mark in "“”„‘’"):
        return "the quotes must be straight ones, \" or '"
    if line.startswith("[") and "twice" in why:
        return "the table stands here twice; move its keys under the first"
    if line.startswith("["):
        return "the table's name needs a bracket at both ends, as in [window]" if "]" not in line else ""
    key, equals, value = (part.strip() for part in line.partition("="))
    value = value.split("#")[0].strip()
    if not equals:
        return f"a key needs a value, as in {key} = 1" if re.fullmatch(r"[\w.-]+", key) else ""
    if not value:
        return f'a value is missing; for an empty text write {key} = ""'
    if "overwrite" in why:
        return f"{key} stands here twice; keep one of the two"
    if value.lower() in ("true", "false", "yes", "no", "on", "off"):
        return f"write {key} = {'true' if value.lower() in ('true', 'yes', 'on') else 'false'}"
    if re.fullmatch(r"[+-]?\d+,\d+", value):
        return f"write a point for the comma: {key} = {value.replace(',', '.')}"
    if re.fullmatch(r"\d[\d.]*\s*[a-zA-Z%]+", value):
        return f"write the number alone, its unit is in the key's name: {key} = {re.split('[a-zA-Z% ]', value)[0]}"
    if "nterminated" in why or "Illegal character" in why or (value[0] in "\"'" and value.count(value[0]) == 1):
        return "the quote at the end of the text is missing"
    if "\\" in value and value.startswith('"'):
        return f"a backslash needs single quotes: {key} = '{value.strip(chr(34))}'"
    if re.fullmatch(r"[^\s\"'\[{=][^\"'=]*", value):
        return f'text needs quotes: {key} = "{value}"'
    return ""
