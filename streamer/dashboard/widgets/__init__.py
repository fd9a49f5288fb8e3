"""The dashboard's parts, one a module."""
