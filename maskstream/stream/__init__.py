"""The three stages of the stream, each in its thread, with bounded channels between them."""
