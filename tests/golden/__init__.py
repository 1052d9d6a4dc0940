"""Results of Keras 3 and PyTorch, recorded once, and the tables that say what was recorded."""
