"""Which identities belong to one person, what tied them together, and when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_ties",
        sa.Column("identity", sa.String(330), nullable=False),
        sa.Column("other", sa.String(330), nullable=False),
        sa.Column("via", sa.String(10), nullable=False),
        sa.Column("evidence", sa.String(330), nullable=False, server_default=""),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("apart", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("identity", "other"),
    )
    op.create_index("identity_ties_other", "identity_ties", ["other"])


def downgrade() -> None:
    op.drop_table("identity_ties")
