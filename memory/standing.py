"""How far off the next use of an object is, as far as anybody knows, in words and in seconds."""

import enum
from math import inf

from motet.memory.owner import BEYOND_S, UNKNOWN_S
from motet.memory.residency import Resident, Worth


class Standing(enum.StrEnum):
    """From what goes first to what goes last."""

    DEAD = "dead"
    """Its adapter is in no memory."""
    SUPERSEDED = "superseded"
    """Its owners have gone on from elsewhere."""
    NEVER = "never"
    """Its owner will not call again."""
    BEYOND = "beyond"
    """The horizon of its owner's clock."""
    UNKNOWN = "unknown"
    WITHIN = "within"
    CALLING = "calling"
    """Its owner has a request that has not ended."""


def standing_of(resident: Resident) -> Standing:
    worth = resident.worth
    if worth is Worth.DEAD:
        return Standing.DEAD
    if worth is Worth.SUPERSEDED:
        return Standing.SUPERSEDED
    distance_s = spared_s(resident)
    if distance_s == -inf:
        return Standing.CALLING
    if distance_s < UNKNOWN_S:
        return Standing.WITHIN
    if distance_s == inf:
        return Standing.NEVER
    return Standing.UNKNOWN if distance_s < BEYOND_S else Standing.BEYOND


def spared_s(resident: Resident) -> float:
    """For how long nobody needs it, on the scale of owners."""
    if resident.worth is not Worth.LIVE:
        return inf
    owner = resident.nearest_owner()
    return UNKNOWN_S if owner is None else owner.distance_s
