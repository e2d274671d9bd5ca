"""Chats that take one JSON document at one secret URL."""
