"""One trainer per network that the package ships."""
