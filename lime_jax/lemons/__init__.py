"""The recommender whose recommendations are explained by what one can listen to."""
