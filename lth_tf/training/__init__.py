"""How a network learns: the compiled loop and its learning rates."""
