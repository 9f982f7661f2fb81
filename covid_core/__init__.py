"""A second reader for COVID-19 on chest X-rays: data preparation, training, evaluation and inference.

The rooms are laid out as one corridor, `data -> images -> training -> evaluation -> inference`; a room knows
those before it and never those after it. Importing this package imports none of them, so that serving never
loads TensorFlow.
"""

__version__ = "0.1.0"
