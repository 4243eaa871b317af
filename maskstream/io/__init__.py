"""Files: their names, what is in them, image formats, and where the program keeps its own."""
