"""Bytes to a grey picture to a model's input: one path, for training and for serving alike."""
