"""The table of a fleet's streams on the screen: the worst first, searched as one types, one chosen with Enter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static

MOST_ROWS = 500  # shown; a search finds the others
LOOK_S = 2.0

COLUMNS = ("stream", "status", "shard", "priority", "why")


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One stream."""

    stream: str
    status: str
    shard: str  # empty: nobody serves it
    priority: int
    why: str

    def matches(self, words: Sequence[str]) -> bool:
        """Return whether each of the words is somewhere in the row."""
        text = f"{self.stream} {self.status} {self.shard} {self.why}".lower()
        return all(word in text for word in words)


@dataclass(frozen=True, slots=True)
class FleetView:
    """A fleet at one moment."""

    sentence: str
    rows: tuple[FleetRow, ...]  # the worst first


class FleetTable(App[FleetRow]):
    """Shows what `look` returns, every two seconds, until `q` or Enter on a stream that is served; returns that.

    Args:
        look: asks for the fleet; it may take its time, and what it raises is shown.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "search", key_display="/"),
        Binding("escape", "table", "table", show=False),
        Binding("q", "quit", "quit"),
    ]
    CSS = "DataTable { height: 1fr; } Static { padding: 0 1; } Input { height: 3; }"

    def __init__(self, look: Callable[[], FleetView]) -> None:
        super().__init__()
        self._look = look
        self._view = FleetView("asking the director …", ())
        self._shown: tuple[FleetRow, ...] = ()
        self._head = Static("", markup=False)
        self._search = Input(placeholder="search: name, status, shard, reason")
        self._table: DataTable[str] = DataTable(cursor_type="row", zebra_stripes=True)

    def compose(self) -> ComposeResult:
        """Lay out the sentence, the search and the table."""
        yield self._head
        yield self._search
        yield self._table
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._table.add_columns(*COLUMNS)
        self._table.focus()
        self.draw()
        self.look()
        self.set_interval(LOOK_S, self.look)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def look(self) -> None:
        """Ask for the fleet in a thread, and draw it."""
        try:
            view = self._look()
        except Exception as error:  # the director is being restarted, say
            view = FleetView(str(error), self._view.rows)
        self.call_from_thread(self._take, view)

    def _take(self, view: FleetView) -> None:
        self._view = view
        self.draw()

    def draw(self) -> None:
        """Draw the rows that match what is searched for; the cursor stays on its stream."""
        words = self._search.value.lower().split()
        found = [row for row in self._view.rows if row.matches(words)]
        rows = tuple(found[:MOST_ROWS])
        more = f" The first {MOST_ROWS:,} of {len(found):,} rows." if len(found) > MOST_ROWS else ""
        self._head.update(f"{self._view.sentence}{more}")
        if rows == self._shown:
            return
        at = self._table.cursor_row
        chosen = self._shown[at].stream if 0 <= at < len(self._shown) else ""
        self._shown = rows
        self._table.clear()
        for row in rows:
            self._table.add_row(row.stream, row.status, row.shard, str(row.priority), row.why)
        place = next((number for number, row in enumerate(rows) if row.stream == chosen), 0)
        self._table.move_cursor(row=place)

    def on_input_changed(self) -> None:
        """Search as one types."""
        self.draw()

    def on_input_submitted(self) -> None:
        """Go to the table."""
        self._table.focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Choose the stream, if it is served."""
        row = self._shown[event.cursor_row]
        if row.shard:
            self.exit(row)
        else:
            self.notify(f"{row.stream} is not served: {row.why or 'it waits'}.")

    def action_search(self) -> None:
        """Move to the search."""
        self._search.focus()

    def action_table(self) -> None:
        """Move to the table."""
        self._table.focus()
