"""Where in an image an SVM's evidence lies: Grad-CAM towards its decision value."""
