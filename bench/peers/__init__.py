"""Other people's books, each driven by its own message handler, behind one face.

None of them is a dependency: what is not installed is reported in a line and left out.
"""
