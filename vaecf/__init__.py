"""Mult-VAE and Mult-DAE (Liang et al. 2018, "Variational Autoencoders for Collaborative Filtering").

horovodrun -np 4 python -m vaecf.train --data DIR --run-dir DIR
python -m vaecf.evaluate --run-dir DIR
"""

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment
