"""Finds the drums: the confounder experiment of the audioLIME paper."""
