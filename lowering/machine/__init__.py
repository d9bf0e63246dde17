"""Machines as they can be made: engines, widths, capacities and ranges, the targets that ship, and their choice."""
