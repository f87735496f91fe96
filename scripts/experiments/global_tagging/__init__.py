"""What a tagger means by a tag: the global analysis of the audioLIME paper."""
