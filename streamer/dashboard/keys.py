"""The keys of the dashboard, and what each is for."""

from textual.binding import Binding

#: Two bindings may share a key; the app's `check_action` offers the one that makes sense.
KEYS = (
    Binding("q", "quit", "quit", id="quit", tooltip="Leave the dashboard and end the program"),
    Binding("space", "freeze", "freeze", id="freeze", tooltip="Freeze the view; capture goes on"),
    Binding("space", "resume", "resume", id="resume", tooltip="resume the view"),
    Binding("m", "mute", "mute", id="mute", tooltip="Stop capturing this stream, for privacy"),
    Binding("m", "unmute", "unmute", id="unmute", tooltip="capture this stream again"),
    Binding("n", "next_stream", "next", id="next", tooltip="Show the next stream; tab does the same"),
    Binding("d", "choose_device", "device", id="device", tooltip="Choose the input device of this stream"),
    Binding(
        "c",
        "calibrate",
        "calibrate",
        id="calibrate",
        tooltip="Record a profile of your neutral voice",
        show=False,
    ),
    Binding("c", "cancel_calibration", "cancel", id="cancel", tooltip="cancel the recording", show=False),
    Binding("left", "step(-1)", "back", id="back", tooltip="Move the cursor of the timeline back", show=False),
    Binding("right", "step(1)", "on", id="on", tooltip="Move it on, up to now", show=False),
    Binding("shift+left", "page(-1)", "page back", id="page-back", tooltip="Scroll the timeline back", show=False),
    Binding("shift+right", "page(1)", "page on", id="page-on", tooltip="Scroll it on", show=False),
    Binding(
        "plus,equals_sign",
        "zoom(-1)",
        "zoom in",
        id="zoom-in",
        tooltip="Show less time, wider",
        key_display="+",
        show=False,
    ),
    Binding("minus", "zoom(1)", "zoom out", id="zoom-out", tooltip="Show more time, up to a day", show=False),
    Binding(
        "escape,0",
        "now",
        "now",
        id="now",
        tooltip="Bring the timeline back to now",
        key_display="esc, 0",
        show=False,
    ),
    Binding("s", "statistics", "statistics", id="statistics", tooltip="Show the shares of the emotions", show=False),
    Binding("t", "change_theme", "theme", id="theme", tooltip="Choose the colour theme"),
    Binding(
        "question_mark,f1",
        "help",
        "help",
        id="help",
        tooltip="Show the keys and how to read the screen",
        key_display="?",
    ),
    Binding("ctrl+s", "screenshot", "picture", id="picture", tooltip="Save the screen as an SVG picture", show=False),
)
#: Not offered to a watcher: another program owns the capture.
CAPTURE_ACTIONS = ("mute", "unmute", "choose_device", "calibrate", "cancel_calibration")
