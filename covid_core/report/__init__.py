"""A model as a report of chapters, and the files it is taken away in; no user interface, no TensorFlow."""
