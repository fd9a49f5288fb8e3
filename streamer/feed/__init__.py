"""What a screen reads."""
