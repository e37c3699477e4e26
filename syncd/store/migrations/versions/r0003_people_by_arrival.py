"""One index of `signals` instead of two: whose a signal is stands beside when it came."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("signals_identity", "signals")
    op.drop_index("signals_received", "signals")
    op.create_index("signals_received", "signals", ["received_at", "identity"])
