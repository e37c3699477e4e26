"""What was decided for one write beside its mapping: who owns the record, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("writes", sa.Column("chosen", sa.Text(), nullable=False, server_default=""))
