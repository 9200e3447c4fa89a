from .maps import saliency_maps

__all__ = [
    "saliency_maps",
]
