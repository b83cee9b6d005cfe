"""Rows of the published tables: what they are, running them, and the page of results."""
