"""What the files of the four formats say of their pictures, without decoding them: one module a format, pure Python."""
