"""From the store into a CRM: claim, resolve people, map, write, settle. One lane a destination."""

from syncd.dispatch.lane import Lane, StepResult

__all__ = ["Lane", "StepResult"]
