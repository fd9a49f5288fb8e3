"""What each command does, loaded only when it runs."""
