"""Labels of pictures, in the formats that people keep them in."""
