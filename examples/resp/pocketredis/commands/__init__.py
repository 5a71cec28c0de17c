"""The commands, a file for each kind of value. Importing one puts its commands into the table."""

from __future__ import annotations

from pocketredis.commands import hashes, keys, lists, sessions, sets, sorted_sets, strings, subscriptions

__all__ = ["hashes", "keys", "lists", "sessions", "sets", "sorted_sets", "strings", "subscriptions"]
