"""The error that a client gets when something cannot be had: a status and a sentence."""


class HttpError(Exception):
    """Ends a request or a job.

    Attributes:
      status: of HTTP.
      sentence: for people; it names no path of the server.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
