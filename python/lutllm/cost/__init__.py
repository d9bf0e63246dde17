"""Predicted cycles and resources, without a simulator of hardware."""
