"""File names, file contents, image formats, and the folders of the program."""
