"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=True),
        sa.Column("specialty", sa.String(), nullable=False),
        sa.Column("years_of_experience", sa.Float(), nullable=True),
        sa.Column("lumbar_cts_a_year", sa.Integer(), nullable=True),
        sa.Column("may_create_studies", sa.Boolean(), nullable=False),
        sa.Column("is_demo", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("subject", name="uq_account_subject"),
    )
    op.create_index("ix_account_email", "account", ["email"], unique=True)

    op.create_table(
        "auditevent",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("old", sa.Text(), nullable=False),
        sa.Column("new", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_auditevent"),
    )
    op.create_index("ix_auditevent_study_id", "auditevent", ["study_id"], unique=False)

    op.create_table(
        "scan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scan"),
        sa.UniqueConstraint("key", name="uq_scan_key"),
    )
    op.create_table(
        "signin",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_because", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_signin_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_signin"),
    )
    op.create_index("ix_signin_account_id", "signin", ["account_id"], unique=False)
    op.create_index("ix_signin_identity", "signin", ["identity"], unique=False)
    op.create_index("ix_signin_key", "signin", ["key"], unique=True)

    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("is_demo", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name="fk_study_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_study"),
    )
    op.create_index("ix_study_token", "study", ["token"], unique=True)

    op.create_table(
        "case",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("scan_id", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["scan_id"], ["scan.id"], name="fk_case_scan_id"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_case_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_case"),
        sa.UniqueConstraint("study_id", "number", name="uq_case_study_id"),
    )
    op.create_index("ix_case_study_id", "case", ["study_id"], unique=False)

    op.create_table(
        "membership",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("invited_by", sa.Integer(), nullable=True),
        sa.Column("invited_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_membership_account_id"),
        sa.ForeignKeyConstraint(["invited_by"], ["account.id"], name="fk_membership_invited_by"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_membership_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_membership"),
        sa.UniqueConstraint("study_id", "account_id", "role", name="uq_membership_study_id"),
    )
    op.create_index("ix_membership_account_id", "membership", ["account_id"], unique=False)
    op.create_index("ix_membership_study_id", "membership", ["study_id"], unique=False)

    op.create_table(
        "protocolversion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("locked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_protocolversion_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_protocolversion"),
        sa.UniqueConstraint("study_id", "number", name="uq_protocolversion_study_id"),
    )
    op.create_index("ix_protocolversion_study_id", "protocolversion", ["study_id"], unique=False)

    op.create_table(
        "signature",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("typed_name", sa.String(), nullable=False),
        sa.Column("meaning", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_signature_account_id"),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_signature_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_signature"),
    )
    op.create_index("ix_signature_study_id", "signature", ["study_id"], unique=False)

    op.create_table(
        "caseorigin",
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("scanner", sa.String(), nullable=False),
        sa.Column("slice_thickness_mm", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name="fk_caseorigin_case_id"),
        sa.PrimaryKeyConstraint("case_id", name="pk_caseorigin"),
    )
    op.create_index("ix_caseorigin_patient", "caseorigin", ["patient"], unique=False)

    op.create_table(
        "modeloutput",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("grade", sa.Integer(), nullable=True),
        sa.Column("p0", sa.Float(), nullable=True),
        sa.Column("p1", sa.Float(), nullable=True),
        sa.Column("p2", sa.Float(), nullable=True),
        sa.Column("p3", sa.Float(), nullable=True),
        sa.Column("slice_index", sa.Integer(), nullable=True),
        sa.Column("box", sa.String(), nullable=False),
        sa.Column("measure", sa.Float(), nullable=True),
        sa.Column("not_gradable", sa.String(), nullable=False),
        sa.Column("heat_map_key", sa.String(), nullable=False),
        sa.Column("heat_map_box", sa.String(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("grade between 0 and 3", name="ck_modeloutput_grade"),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name="fk_modeloutput_case_id"),
        sa.PrimaryKeyConstraint("id", name="pk_modeloutput"),
        sa.UniqueConstraint("case_id", "version", "weights_sha256", "region", name="uq_modeloutput_case_id"),
    )
    op.create_index("ix_modeloutput_case_id", "modeloutput", ["case_id"], unique=False)

    op.create_table(
        "readingsession",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("seed", sa.String(), nullable=False),
        sa.Column("protocol_version_id", sa.Integer(), nullable=False),
        sa.Column("years_of_experience", sa.Float(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_readingsession_account_id"),
        sa.ForeignKeyConstraint(
            ["protocol_version_id"], ["protocolversion.id"], name="fk_readingsession_protocol_version_id"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name="fk_readingsession_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_readingsession"),
        sa.UniqueConstraint("study_id", "account_id", "number", name="uq_readingsession_study_id"),
    )
    op.create_index("ix_readingsession_account_id", "readingsession", ["account_id"], unique=False)
    op.create_index("ix_readingsession_study_id", "readingsession", ["study_id"], unique=False)

    op.create_table(
        "reference",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("grade", sa.Integer(), nullable=True),
        sa.Column("measure", sa.Float(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("grade between 0 and 3", name="ck_reference_grade"),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name="fk_reference_case_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reference"),
    )
    op.create_index("ix_reference_case_id", "reference", ["case_id"], unique=False)

    op.create_table(
        "readingitem",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("arm", sa.String(), nullable=False),
        sa.Column("is_repeat", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name="fk_readingitem_case_id"),
        sa.ForeignKeyConstraint(["session_id"], ["readingsession.id"], name="fk_readingitem_session_id"),
        sa.PrimaryKeyConstraint("id", name="pk_readingitem"),
        sa.UniqueConstraint("session_id", "position", name="uq_readingitem_session_id"),
    )
    op.create_index("ix_item_case", "readingitem", ["case_id"], unique=False)
    op.create_index("ix_readingitem_session_id", "readingitem", ["session_id"], unique=False)
    op.create_index("ix_readingitem_token", "readingitem", ["token"], unique=True)

    op.create_table(
        "answer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("image_quality", sa.String(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_input_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idle_s", sa.Float(), nullable=False),
        sa.Column("protocol_version_id", sa.Integer(), nullable=False),
        sa.Column("software_version", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.CheckConstraint("revision >= 1", name="ck_answer_revision"),
        sa.ForeignKeyConstraint(["item_id"], ["readingitem.id"], name="fk_answer_item_id"),
        sa.ForeignKeyConstraint(
            ["protocol_version_id"], ["protocolversion.id"], name="fk_answer_protocol_version_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_answer"),
        sa.UniqueConstraint("item_id", "revision", name="uq_answer_item_id"),
    )
    op.create_index("ix_answer_item_id", "answer", ["item_id"], unique=False)

    op.create_table(
        "draft",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_input_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idle_s", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["readingitem.id"], name="fk_draft_item_id"),
        sa.PrimaryKeyConstraint("item_id", name="pk_draft"),
    )
    op.create_table(
        "reopening",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reopened_by", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["readingitem.id"], name="fk_reopening_item_id"),
        sa.ForeignKeyConstraint(["reopened_by"], ["account.id"], name="fk_reopening_reopened_by"),
        sa.PrimaryKeyConstraint("id", name="pk_reopening"),
    )
    op.create_index("ix_reopening_item_id", "reopening", ["item_id"], unique=False)

    op.create_table(
        "regionanswer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("answer_id", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("grade", sa.Integer(), nullable=True),
        sa.Column("confidence", sa.Integer(), nullable=True),
        sa.Column("not_gradable", sa.String(), nullable=False),
        sa.CheckConstraint("(grade is null) = (not_gradable <> '')", name="ck_regionanswer_grade_or_reason"),
        sa.CheckConstraint("confidence between 0 and 100", name="ck_regionanswer_confidence"),
        sa.CheckConstraint("grade between 0 and 3", name="ck_regionanswer_grade"),
        sa.ForeignKeyConstraint(["answer_id"], ["answer.id"], name="fk_regionanswer_answer_id"),
        sa.PrimaryKeyConstraint("id", name="pk_regionanswer"),
        sa.UniqueConstraint("answer_id", "region", name="uq_regionanswer_answer_id"),
    )
    op.create_index("ix_regionanswer_answer_id", "regionanswer", ["answer_id"], unique=False)
    make_triggers()


APPEND_ONLY = (
    "answer",
    "regionanswer",
    "auditevent",
    "reference",
    "modeloutput",
    "reopening",
    "signature",
    "readingitem",
)
LOCKED = "protocolversion"  # once locked_at is set


def make_triggers() -> None:
    """Let the database itself refuse to change or delete what must stay."""
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for act in ("update", "delete"):
                op.execute(
                    f"create trigger {table}_no_{act} before {act} on {table} "
                    f"begin select raise(abort, 'rows of {table} are never changed or deleted'); end"
                )
        op.execute(
            f"create trigger {LOCKED}_no_update before update on {LOCKED} when old.locked_at is not null "
            "begin select raise(abort, 'a locked protocol is never changed'); end"
        )
        op.execute(
            f"create trigger {LOCKED}_no_delete before delete on {LOCKED} "
            "begin select raise(abort, 'a protocol is never deleted'); end"
        )
        return
    op.execute(
        "create function refuse_change() returns trigger language plpgsql as "
        "$$ begin raise exception 'rows of % are never changed or deleted', tg_table_name; end $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"create trigger {table}_append_only before update or delete on {table} "
            "for each row execute function refuse_change()"
        )
        op.execute(
            f"create trigger {table}_no_truncate before truncate on {table} "
            "for each statement execute function refuse_change()"
        )
    op.execute(
        f"create trigger {LOCKED}_no_update before update on {LOCKED} for each row "
        "when (old.locked_at is not null) execute function refuse_change()"
    )
    op.execute(
        f"create trigger {LOCKED}_no_delete before delete on {LOCKED} for each row execute function refuse_change()"
    )


def downgrade() -> None:
    raise NotImplementedError("The first schema has none before it: restore a backup instead.")
