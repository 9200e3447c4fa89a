"""Maps that other verbs write beside runs, and reports show: saliency of images, and embeddings of features."""
