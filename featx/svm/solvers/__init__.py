"""Solvers of linear SVMs: on a Gram matrix, in the weights, and the estimators of scikit-learn."""
