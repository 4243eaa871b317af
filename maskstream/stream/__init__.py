"""Run capture, inference and rendering in threads of their own, with bounded channels between them."""
