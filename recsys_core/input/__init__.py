"""Training and evaluation batches: order, noise, and the `tf.data` pipelines that read a data set."""
