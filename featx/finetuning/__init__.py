"""Training networks on a source or a target data set."""
