"""Solvers of linear SVMs: exact ones on a Gram matrix or in the weights, and those of scikit-learn."""
