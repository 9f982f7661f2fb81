"""Backbones, input pipeline, stages, export. The only subpackage that imports TensorFlow.

TensorFlow reads its settings from the environment when it is imported, so they are set here, before any module of
this subpackage can import it. They are part of a run's recipe and are written into it: oneDNN reorders floating-point sums, and
a run can be repeated bit for bit only with the same choice.
"""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
