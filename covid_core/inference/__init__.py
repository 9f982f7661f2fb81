"""A verified bundle, a predictor and its evidence. LiteRT, NumPy and Pillow only: no TensorFlow, no pandas."""
