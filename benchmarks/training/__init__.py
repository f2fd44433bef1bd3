"""What training and evaluation cost: steps, ladders, scaling, limits, and others beside us."""
