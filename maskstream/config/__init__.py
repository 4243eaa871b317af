"""The configuration: its schema, the layers it is put together from, and lists of cameras."""
