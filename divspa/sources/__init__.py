"""Tables of input, as teams have them: every file read by its own header, and nothing passed over in silence."""
