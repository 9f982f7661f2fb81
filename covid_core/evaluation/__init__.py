"""Predictions to figures with intervals to `evaluation.json`; no TensorFlow, no user interface."""
