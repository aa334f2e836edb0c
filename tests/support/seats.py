"""Workers' seats that only note what they are told."""

from __future__ import annotations

from keyferry.workers.pace import Share
from keyferry.workers.setup import Order, Setup


class NotedSeat:
    """A worker's seat that notes the orders."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def send(self, order: Order) -> bool:
        self.orders.append(order)
        return True

    def take_shares(self) -> list[Share]:
        """The shares that were told since the last call."""
        shares = [order.share for order in self.orders if order.share]
        self.orders.clear()
        return shares


class NotedSeats:
    """An executor that starts nothing."""

    def launch(self, setup: Setup) -> NotedSeat:
        return NotedSeat()
