"""What every model of this project shares: data set, input pipeline, ranks, training loop, evaluation.

No model lives here. Shape legend of this package: U users, I items, B users in a batch, N interactions in a batch,
K top-k, M metrics, H hidden units, L latent units.
"""
