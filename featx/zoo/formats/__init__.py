"""Formats of weights files: Keras, PyTorch and safetensors, MatConvNet. A file comes in, named arrays that fit a network go out."""
