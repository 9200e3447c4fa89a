from .maps import Saliency, saliency

__all__ = [
    "Saliency",
    "saliency",
]
