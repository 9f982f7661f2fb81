"""A second reader for COVID-19 on chest X-rays: data preparation, training, evaluation and inference.

Imports run one way, `images -> dataset -> evaluation -> audit -> inference -> figures -> report -> training -> ui, cli`: a
subpackage imports those before it and never those after it. Only `training` imports TensorFlow.
"""

__version__ = "0.1.0"
