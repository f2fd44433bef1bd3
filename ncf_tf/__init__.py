"""Neural collaborative filtering: GMF, MLP and NeuMF (He et al. 2017, "Neural Collaborative Filtering").

horovodrun -np 4 python -m ncf_tf.train --data DIR --run-dir DIR
python -m ncf_tf.evaluate --run-dir DIR
"""

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment
