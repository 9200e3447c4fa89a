from .embedded_runs import Embedding, embedding
from .embedding_settings import EmbeddingSettings

__all__ = [
    "Embedding",
    "EmbeddingSettings",
    "embedding",
]
