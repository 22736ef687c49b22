"""Search the settings that keep a variational autoencoder's KL term in its band, and prove them on fresh seeds.

The names listed in `__init__.pyi` are the public ones; each loads its module when it is first asked for, so that
importing this package loads nothing heavy. TensorFlow is loaded by `run_study`, when it is called, and by
`SearchedDropout`, which is a Keras layer.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
