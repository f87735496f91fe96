"""Songs, styles, voices and libraries, composed and rendered."""
