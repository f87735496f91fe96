"""What people see: an explanation as a folder with a page, pictures, sounds and a record."""

from lime_jax.report.files import write
from lime_jax.report.folder import check_folder
from lime_jax.report.record import read, to_json

__all__ = ["check_folder", "read", "to_json", "write"]
