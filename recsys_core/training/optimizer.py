"""Adam by TensorFlow's fused kernel: one pass over memory instead of ten separate operations a variable."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class Adam(tf.Module):
    """Adam (Kingma and Ba 2015), in the form of TensorFlow 1: epsilon is added to the uncorrected root.

    That is the form the published VAE-CF results were made with. Weight decay comes in both kinds: `l2` adds
    l2 * ||W||² to the loss (its gradient passes through the moments), `weight_decay` shrinks W directly by
    learning rate * weight_decay (Loshchilov and Hutter 2019).
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        decayed: Sequence[tf.Variable] = (),
    ) -> None:
        """
        Args:
            decayed: the variables that `l2` and `weight_decay` act on (kernels, not biases).
        """
        super().__init__(name="adam")
        self.updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")
        """Updates so far; a step that loss scaling skips is none."""
        self._variables = list(variables)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._l2, self._weight_decay = l2, weight_decay
        self._decayed = {v.ref() for v in decayed} if l2 or weight_decay else set()
        self.first = [tf.Variable(tf.zeros_like(v), trainable=False, name="first") for v in self._variables]
        self.second = [tf.Variable(tf.zeros_like(v), trainable=False, name="second") for v in self._variables]

    def _apply_rows(
        self, variable: tf.Variable, gradient: tf.IndexedSlices, m: tf.Variable, v: tf.Variable, rate: tf.Tensor
    ) -> None:
        """Update the rows [N, D] of a table."""
        rows, values = gradient.indices, gradient.values
        first = self._beta1 * tf.gather(m, rows) + (1.0 - self._beta1) * values
        second = self._beta2 * tf.gather(v, rows) + (1.0 - self._beta2) * tf.square(values)
        for table, new in ((m, first), (v, second)):
            tf.raw_ops.ResourceScatterUpdate(resource=table.handle, indices=rows, updates=new)
        change = rate * first / (tf.sqrt(second) + self._epsilon)
        tf.raw_ops.ResourceScatterSub(resource=variable.handle, indices=rows, updates=change)

    def penalty(self) -> tf.Tensor:
        """[] l2 * sum of squares of the decayed variables: what `l2` adds to the loss."""
        if not self._l2:
            return tf.constant(0.0)
        return 2.0 * self._l2 * tf.add_n([tf.nn.l2_loss(v) for v in self._variables if v.ref() in self._decayed])

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Update every variable in place.

        Args:
            gradients: one float32 tensor a variable, without the penalty's part. IndexedSlices (every row once) update
                these rows only, their moments too ("lazy" Adam): what a table costs follows the batch, not its size.
            learning_rate: [] float32.
        """
        count = tf.cast(self.updates.assign_add(1), tf.float64)
        power1 = tf.cast(tf.pow(tf.constant(self._beta1, tf.float64), count), tf.float32)
        power2 = tf.cast(tf.pow(tf.constant(self._beta2, tf.float64), count), tf.float32)
        for variable, gradient, m, v in zip(self._variables, gradients, self.first, self.second, strict=True):
            if isinstance(gradient, tf.IndexedSlices):
                assert variable.ref() not in self._decayed, "decay would touch every row"
                rate = learning_rate * tf.sqrt(1.0 - power2) / (1.0 - power1)
                self._apply_rows(variable, gradient, m, v, rate)
                continue
            if variable.ref() in self._decayed:
                if self._l2:
                    gradient = gradient + 2.0 * self._l2 * variable
                if self._weight_decay:
                    variable.assign_sub(learning_rate * self._weight_decay * variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=learning_rate,
                beta1=self._beta1,
                beta2=self._beta2,
                epsilon=self._epsilon,
                grad=gradient,
            )
