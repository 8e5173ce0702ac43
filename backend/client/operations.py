"""All that can be asked of a server. Methods are named as the operations of its OpenAPI document are."""

from __future__ import annotations

from backend.client.calendars import Calendars
from backend.client.events import Events
from backend.client.forecasts import Forecasts
from backend.client.guards import Guards
from backend.client.notifications import Notifications
from backend.client.runs import Runs
from backend.client.schedules import Schedules
from backend.client.system import System
from backend.client.tenants import Tenants


class Operations(Schedules, Runs, Calendars, Forecasts, Tenants, Guards, Notifications, Events, System):
    """Each method takes the same and answers the same in both clients; in one it is awaited."""
