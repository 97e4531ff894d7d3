"""Refusals in the service's own terms: an error type, a status code and a message."""

from __future__ import annotations


class ServiceError(Exception):
    """An answer other than 200, as the service gives it."""

    def __init__(self, type_name: str, status: int, message: str) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.status = status
        self.message = message


def validation_error(message: str) -> ServiceError:
    """The runtime's refusal of a request or a record."""
    return ServiceError("ValidationError", 400, message)


def validation_exception(message: str) -> ServiceError:
    """The control plane's refusal of a request."""
    return ServiceError("ValidationException", 400, message)


def group_not_found(name: str) -> str:
    return f"Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name {name}"
