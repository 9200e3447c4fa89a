"""What low precision does to a network: which networks take it, and which of their layers stay in float32."""
