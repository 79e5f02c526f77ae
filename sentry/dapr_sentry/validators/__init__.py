"""How a caller proves which identity it may have: one module per validator."""
