"""The live path: audio chunks to events."""
