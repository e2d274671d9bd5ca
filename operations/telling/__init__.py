"""Decides who is told what, and when to retry. Pure: time and state are arguments."""
