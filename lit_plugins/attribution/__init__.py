"""Explanations: methods over any backend's model."""
