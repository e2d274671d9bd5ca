"""Decides when to look, and what follows a look. Pure: time and state are arguments."""
