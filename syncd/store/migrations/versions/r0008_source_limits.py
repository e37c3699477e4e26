"""Buckets of vendor accounts, shared by all machines, and what an account had left when a source last heard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rates",
        sa.Column("account", sa.String(200), primary_key=True),
        sa.Column("level", sa.Float(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "allowances",
        sa.Column("source", sa.String(200), primary_key=True),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("units_left", sa.Float(), nullable=False),
        sa.Column("keep", sa.Float(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("allowances")
    op.drop_table("rates")
