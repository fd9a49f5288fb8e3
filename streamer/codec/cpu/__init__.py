"""The CPU engine of the streaming encoder."""
