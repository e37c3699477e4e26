"""The objects of people's companies, and the deals that were picked for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("people", sa.Column("account_object", sa.String(200), nullable=False, server_default=""))
    op.add_column("people", sa.Column("deal", sa.String(100), nullable=False, server_default=""))
    op.add_column("people", sa.Column("deal_object", sa.String(200), nullable=False, server_default=""))
    # Of which object their company is was not kept: these people are looked up again.
    op.execute("UPDATE people SET checked_at = 0 WHERE state = 'known' AND account <> ''")
