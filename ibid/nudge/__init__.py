"""Nudges: messages that say "there may be work", which may be lost, doubled or late without harm."""
