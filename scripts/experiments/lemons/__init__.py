"""Do explanations of recommendations name what a listener loves?"""
