"""Do explanations find what an adversary changed?"""
