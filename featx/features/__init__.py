"""Features of images, stored by their content.

Images of a manifest come in with the names of pre-trained networks and their weights. Each network turns an image into
a vector of numbers, which is computed once for each image content and recipe. Feature stores come out, which the SVM
stage reads by image, and the name of an arm stands for the stores of an extraction.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
