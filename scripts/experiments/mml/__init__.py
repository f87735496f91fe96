"""Do the best components of an explanation carry the decision?"""
