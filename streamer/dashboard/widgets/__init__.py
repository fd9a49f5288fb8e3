"""The panels of the dashboard, one module each: a Textual widget, and the pure functions that draw its lines."""
