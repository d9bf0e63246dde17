"""Registers, the sequencer that reads descriptors, and what watches over progress."""
