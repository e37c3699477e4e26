"""Reasons have a code and parameters beside their text; failures of sources and receipts have their class."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WITH_PARAMETERS = ("writes", "settled", "deliveries", "people")
WITH_CODE = (*WITH_PARAMETERS, "lanes", "source_health", "receipts")

# What was decided by the words until now is decided by these codes. Other old rows have none.
BACKFILL = (
    "UPDATE writes SET code = 'another_object' WHERE state = 'skipped' AND reason LIKE 'their record is a %'",
    "UPDATE writes SET code = 'stranger' WHERE state = 'held' AND reason = 'stranger'",
    "UPDATE lanes SET code = 'our_share_used' WHERE reason LIKE 'our share of the daily allowance%'",
    "UPDATE lanes SET code = 'account_used' WHERE reason LIKE 'the account has used%'",
    "UPDATE lanes SET code = 'allowance_used' WHERE reason LIKE 'the allowance is used up%'",
    "UPDATE lanes SET code = 'sign_in' WHERE reason LIKE '%run: syncd auth%'",
    "UPDATE source_health SET code = 'misconfigured' WHERE error LIKE 'Misconfigured: %'",
    "UPDATE source_health SET code = 'authexpired' WHERE error LIKE 'AuthExpired: %'",
    "UPDATE source_health SET code = 'sign_in' WHERE error LIKE 'Misconfigured: %run: syncd auth%'",
    "UPDATE receipts SET code = 'misconfigured' WHERE error LIKE 'Misconfigured:%'",
    "UPDATE receipts SET code = 'authexpired' WHERE error LIKE 'AuthExpired:%'",
)


def upgrade() -> None:
    for table in WITH_CODE:
        op.add_column(table, sa.Column("code", sa.String(60), nullable=False, server_default=""))
    for table in WITH_PARAMETERS:
        op.add_column(table, sa.Column("parameters", sa.Text(), nullable=False, server_default=""))
    for statement in BACKFILL:
        op.execute(statement)
    columns = ("destination", "identity", "state", "reason", "code", "parameters")
    people = sa.table("people", *(sa.column(name) for name in columns))
    bind = op.get_bind()
    rows = bind.execute(
        sa.select(people.c.destination, people.c.identity, people.c.reason).where(
            people.c.state == "creating", people.c.reason.like("as %")
        )
    ).all()
    for destination, identity, reason in rows:
        packed = json.dumps({"identity": reason[3:]}, ensure_ascii=False, separators=(",", ":"))
        mine = (people.c.destination == destination) & (people.c.identity == identity)
        bind.execute(sa.update(people).where(mine).values(code="alias", parameters=packed))


def downgrade() -> None:
    for table in WITH_PARAMETERS:
        op.drop_column(table, "parameters")
    for table in WITH_CODE:
        op.drop_column(table, "code")
