"""What the commands' tests share with those of what they call."""

from tests.runs.conftest import model_folder as model_folder
