"""What ties a person to their record, the record's name, and whose turn it is to own a new one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("people", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    op.add_column("people", sa.Column("by_number", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("people", sa.Column("owner", sa.Text(), nullable=False, server_default=""))
    op.create_index("people_record", "people", ["destination", "crm_id"])
    # Which of the people known today were found by a shared number is not known: all of them are looked up again.
    op.execute("UPDATE people SET by_number = TRUE WHERE state = 'known' AND object <> ''")
    op.create_table(
        "turns",
        sa.Column("destination", sa.String(200), nullable=False),
        sa.Column("rule", sa.String(200), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "rule"),
    )
