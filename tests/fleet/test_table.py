"""The table of streams: TOML and CSV, all mistakes at once, no secrets in what is shown, read again when it changes."""

import os
from pathlib import Path

import pytest

from streamer.errors import UsageError
from streamer.fleet.table import MAX_SHOWN, TableError, TableFile, read_table, readable_by_others

WHOLE = """
[fleet]
name = "floor"
streams_file = "more.csv"
fill = 0.7

[[group]]
name = "gpu"
shards = 2
gpus = 0.5

[[stream]]
name = "desk"
source = "http://radio.lan:8000/live.ogg"
group = "gpu"
priority = 5
"""


def write(folder: Path, text: str, name: str = "FLEET.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_has_the_streams_of_its_csv_too(tmp_path: Path) -> None:
    write(tmp_path, "Name;Source;Priority\ndoor;rtsp://cam.lan/1;-1\n\n", "more.csv")
    table = read_table(write(tmp_path, WHOLE))
    assert [(row.name, row.group, row.priority) for row in table.stream] == [
        ("desk", "gpu", 5),
        ("door", "default", -1),
    ]
    assert table.stream[1].source.get_secret_value() == "rtsp://cam.lan/1"
    assert {name: group.shards for name, group in table.groups.items()} == {"gpu": 2, "default": 1}
    assert (table.fleet.name, table.fleet.fill) == ("floor", 0.7)


def test_a_csv_alone_is_a_table(tmp_path: Path) -> None:
    lines = "".join(f"s{number},http://source.lan/{number}\n" for number in range(5000))
    table = read_table(write(tmp_path, "\ufeffname,source\n" + lines, "streams.CSV"))
    assert len(table.stream) == 5000
    assert list(table.groups) == ["default"]


def test_all_mistakes_of_a_table_are_said_at_once(tmp_path: Path) -> None:
    rows = "name,source,priority\nOne,http://a.lan,0\ntwo,mic,0\nthree,ftp://a.lan/,high\nfour,http://a.lan\n"
    write(tmp_path, rows, "more.csv")
    path = write(tmp_path, WHOLE.replace("fill = 0.7", "fil = 0.7").replace("gpus = 0.5", "gpus = -1"))
    with pytest.raises(TableError) as caught:
        read_table(path)
    said = "\n".join(caught.value.problems)
    for part in (
        "fleet.fil: no such key; did you mean fill?",
        "group.0.gpus = -1 is not allowed: it must be at least 0",
        "line 2: name = 'One' is not allowed: lower-case letters",
        "line 3: source is not allowed: a shard may run on any node",
        "line 4: priority = 'high' is not allowed",
        "line 4: source is not allowed: there is no way to open ftp:// sources",
        "line 5 has 2 fields, and the first line 3",
    ):
        assert part in said
    assert len(caught.value.problems) == 7


def test_names_and_groups_are_checked_over_all_rows(tmp_path: Path) -> None:
    write(tmp_path, "name,source,group\ndesk,http://a.lan,\nlamp,http://a.lan,attic\n", "more.csv")
    with pytest.raises(TableError) as caught:
        read_table(write(tmp_path, WHOLE + '[[group]]\nname = "gpu"\n'))
    assert [problem.partition(": ")[2] for problem in caught.value.problems] == [
        "two [[group]] tables are both named 'gpu'; give each a name of its own.",
        "two streams are both named 'desk'; give each a name of its own.",
        "stream 'lamp' is for the group 'attic', and there is no [[group]] of that name; add one, or leave the group "
        "out.",
    ]


def test_of_thousands_of_mistakes_some_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "name,source\n" + 300 * "A,mic\n", "streams.csv")
    with pytest.raises(TableError, match=r"600 mistakes in the table") as caught:
        read_table(path)
    assert len(str(caught.value).splitlines()) == MAX_SHOWN + 2
    assert "and 580 more" in str(caught.value)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("name,url\n", "lacks source and has url, which nothing reads; the columns are name, source, group"),
        ("", "lacks name, source;"),
    ],
)
def test_a_wrong_head_names_the_columns(head: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=said):
        read_table(write(tmp_path, head + "desk,http://a.lan\n" if head else "", "streams.csv"))


def test_a_missing_csv_is_said_and_a_missing_table_too(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"more\.csv: the table of streams cannot be read"):
        read_table(write(tmp_path, WHOLE))
    with pytest.raises(UsageError, match="there is no such"):
        read_table(tmp_path / "none.toml")


def test_passwords_are_in_no_message_and_no_repr(tmp_path: Path) -> None:
    rows = "name,source,priority\nok,rtsp://user:hunter2@cam.lan/1?token=hunter2,0\n"
    table = read_table(write(tmp_path, rows, "good.csv"))
    assert "hunter2" not in repr(table)
    bad = rows.replace(",0\n", ",zero\n") + "bad,mqtt://user:hunter2@cam.lan,0\n"
    with pytest.raises(TableError) as caught:
        read_table(write(tmp_path, bad, "bad.csv"))
    toml = '[[stream]]\nname = "A"\nsource = "ftp://user:hunter2@cam.lan/?token=hunter2"\n'
    with pytest.raises(TableError) as caught_toml:
        read_table(write(tmp_path, toml))
    assert "hunter2" not in str(caught.value) + str(caught_toml.value)


def test_a_file_with_passwords_that_others_can_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "name,source\nok,rtsp://user:hunter2@cam.lan/1\n", "streams.csv")
    path.chmod(0o644)
    assert readable_by_others(path, read_table(path)) == [path]
    path.chmod(0o600)
    assert readable_by_others(path, read_table(path)) == []


def test_the_table_is_read_again_when_a_file_of_it_changes_and_kept_when_that_is_wrong(tmp_path: Path) -> None:
    rows = write(tmp_path, "name,source\ndoor,http://a.lan\n", "more.csv")
    file = TableFile(write(tmp_path, WHOLE))
    first = file.changed()
    assert first is not None
    assert len(first.stream) == 2
    assert file.changed() is None
    rows.write_text("name,source\ndoor,http://a.lan\ngate,mic\n")
    assert file.changed() is None
    assert "gate" not in file.problem
    assert "line 3: source" in file.problem
    rows.write_text("name,source\ndoor,http://a.lan\ngate,http://b.lan\n")
    os.utime(rows, (1, 1))
    again = file.changed()
    assert again is not None
    assert len(again.stream) == 3
    assert file.problem == ""
