"""What is kept of readers here; the engine's commands and yours ask for it (docs/engine.md)."""

from notifications.personal.tables import Table, declare, deleting

declare(
    Table(
        model="lending.Reservation",
        title="reservations",
        rows="reader",
        personal=("title",),
        forget=deleting("lending.Reservation", "reader"),
    )
)
