"""Collections of scans: import, levels, regions, labels by two, reference versions, split."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = (
    "levelmark",
    "proposedbox",
    "regionbox",
    "labelplan",
    "labelplace",
    "label",
    "labelgrade",
    "adjudication",
    "referenceversion",
    "referencerow",
    "splitversion",
    "splitrow",
)


def upgrade() -> None:
    # Written out: Alembic would copy the whole table for the reference, and SQLite refuses to drop what rows refer to.
    op.execute("alter table study add column kind varchar not null default 'reader_study'")
    op.execute(
        "alter table study add column collection_id integer constraint fk_study_collection_id references study (id)"
    )
    op.create_table(
        "curatedscan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("scan_id", sa.Integer(), nullable=False),
        sa.Column("source_digest", sa.String(), nullable=False),
        sa.Column("identity_digest", sa.String(), nullable=False),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("imported_as", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("manufacturer", sa.String(), nullable=False),
        sa.Column("kernel", sa.String(), nullable=False),
        sa.Column("slice_thickness_mm", sa.Float(), nullable=False),
        sa.Column("slices", sa.Integer(), nullable=False),
        sa.Column("sex", sa.String(), nullable=False),
        sa.Column("age_years", sa.Float(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("levels_confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_because", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["study.id"], name="fk_curatedscan_collection_id"),
        sa.ForeignKeyConstraint(["scan_id"], ["scan.id"], name="fk_curatedscan_scan_id"),
        sa.PrimaryKeyConstraint("id", name="pk_curatedscan"),
        sa.UniqueConstraint("collection_id", "source_digest", name="uq_curatedscan_collection_id"),
    )
    op.create_index("ix_curatedscan_collection_id", "curatedscan", ["collection_id"], unique=False)
    op.create_index("ix_curatedscan_patient", "curatedscan", ["patient"], unique=False)
    op.create_table(
        "labelplan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("second", sa.Integer(), nullable=False),
        sa.Column("adjudicator", sa.Integer(), nullable=True),
        sa.Column("seed", sa.String(), nullable=False),
        sa.Column("set_by", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["adjudicator"], ["account.id"], name="fk_labelplan_adjudicator"),
        sa.ForeignKeyConstraint(["collection_id"], ["study.id"], name="fk_labelplan_collection_id"),
        sa.ForeignKeyConstraint(["first"], ["account.id"], name="fk_labelplan_first"),
        sa.ForeignKeyConstraint(["second"], ["account.id"], name="fk_labelplan_second"),
        sa.ForeignKeyConstraint(["set_by"], ["account.id"], name="fk_labelplan_set_by"),
        sa.PrimaryKeyConstraint("id", name="pk_labelplan"),
    )
    op.create_index("ix_labelplan_collection_id", "labelplan", ["collection_id"], unique=False)
    op.create_table(
        "referenceversion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("locked_by", sa.Integer(), nullable=False),
        sa.Column("locked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["study.id"], name="fk_referenceversion_collection_id"),
        sa.ForeignKeyConstraint(["locked_by"], ["account.id"], name="fk_referenceversion_locked_by"),
        sa.PrimaryKeyConstraint("id", name="pk_referenceversion"),
        sa.UniqueConstraint("collection_id", "number", name="uq_referenceversion_collection_id"),
    )
    op.create_index("ix_referenceversion_collection_id", "referenceversion", ["collection_id"], unique=False)
    op.create_table(
        "refusedscan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("source_digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["study.id"], name="fk_refusedscan_collection_id"),
        sa.PrimaryKeyConstraint("id", name="pk_refusedscan"),
        sa.UniqueConstraint("collection_id", "source_digest", name="uq_refusedscan_collection_id"),
    )
    op.create_index("ix_refusedscan_collection_id", "refusedscan", ["collection_id"], unique=False)
    op.create_table(
        "curatedlevel",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("curated_scan_id", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["collection_id"], ["study.id"], name="fk_curatedlevel_collection_id"),
        sa.ForeignKeyConstraint(["curated_scan_id"], ["curatedscan.id"], name="fk_curatedlevel_curated_scan_id"),
        sa.PrimaryKeyConstraint("id", name="pk_curatedlevel"),
        sa.UniqueConstraint("curated_scan_id", "level", name="uq_curatedlevel_curated_scan_id"),
    )
    op.create_index("ix_curatedlevel_collection_id", "curatedlevel", ["collection_id"], unique=False)
    op.create_index("ix_curatedlevel_curated_scan_id", "curatedlevel", ["curated_scan_id"], unique=False)
    op.create_table(
        "splitversion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("reference_version_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("control_sha256", sa.String(), nullable=False),
        sa.Column("locked_by", sa.Integer(), nullable=False),
        sa.Column("locked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["collection_id"], ["study.id"], name="fk_splitversion_collection_id"),
        sa.ForeignKeyConstraint(["locked_by"], ["account.id"], name="fk_splitversion_locked_by"),
        sa.ForeignKeyConstraint(
            ["reference_version_id"], ["referenceversion.id"], name="fk_splitversion_reference_version_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_splitversion"),
        sa.UniqueConstraint("collection_id", "number", name="uq_splitversion_collection_id"),
    )
    op.create_index("ix_splitversion_collection_id", "splitversion", ["collection_id"], unique=False)
    op.create_table(
        "labelplace",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_labelplace_account_id"),
        sa.ForeignKeyConstraint(["case_id"], ["curatedlevel.id"], name="fk_labelplace_case_id"),
        sa.ForeignKeyConstraint(["collection_id"], ["study.id"], name="fk_labelplace_collection_id"),
        sa.PrimaryKeyConstraint("id", name="pk_labelplace"),
        sa.UniqueConstraint("account_id", "case_id", name="uq_labelplace_account_id"),
        sa.UniqueConstraint("collection_id", "account_id", "position", name="uq_labelplace_collection_id"),
    )
    op.create_index("ix_labelplace_collection_id", "labelplace", ["collection_id"], unique=False)
    op.create_index("ix_labelplace_token", "labelplace", ["token"], unique=True)
    op.create_table(
        "levelmark",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_levelmark_account_id"),
        sa.ForeignKeyConstraint(["case_id"], ["curatedlevel.id"], name="fk_levelmark_case_id"),
        sa.PrimaryKeyConstraint("id", name="pk_levelmark"),
    )
    op.create_index("ix_levelmark_case_id", "levelmark", ["case_id"], unique=False)
    op.create_table(
        "proposedbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("box", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["curatedlevel.id"], name="fk_proposedbox_case_id"),
        sa.PrimaryKeyConstraint("id", name="pk_proposedbox"),
    )
    op.create_index("ix_proposedbox_case", "proposedbox", ["case_id", "slice_index"], unique=False)
    op.create_table(
        "splitrow",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["splitversion.id"], name="fk_splitrow_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_splitrow"),
        sa.UniqueConstraint("version_id", "patient", name="uq_splitrow_version_id"),
    )
    op.create_index("ix_splitrow_version_id", "splitrow", ["version_id"], unique=False)
    op.create_table(
        "label",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.Integer(), nullable=False),
        sa.Column("place_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=False),
        sa.Column("image_quality", sa.String(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("software_version", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.CheckConstraint("revision >= 1", name="ck_label_revision"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_label_account_id"),
        sa.ForeignKeyConstraint(["case_id"], ["curatedlevel.id"], name="fk_label_case_id"),
        sa.ForeignKeyConstraint(["collection_id"], ["study.id"], name="fk_label_collection_id"),
        sa.ForeignKeyConstraint(["place_id"], ["labelplace.id"], name="fk_label_place_id"),
        sa.PrimaryKeyConstraint("id", name="pk_label"),
        sa.UniqueConstraint("place_id", "revision", name="uq_label_place_id"),
    )
    op.create_index("ix_label_case_id", "label", ["case_id"], unique=False)
    op.create_index("ix_label_collection_id", "label", ["collection_id"], unique=False)
    op.create_table(
        "labeldraft",
        sa.Column("place_id", sa.Integer(), nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["place_id"], ["labelplace.id"], name="fk_labeldraft_place_id"),
        sa.PrimaryKeyConstraint("place_id", name="pk_labeldraft"),
    )
    op.create_table(
        "regionbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("box", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("copied_from", sa.Integer(), nullable=True),
        sa.Column("proposal_id", sa.Integer(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_regionbox_account_id"),
        sa.ForeignKeyConstraint(["case_id"], ["curatedlevel.id"], name="fk_regionbox_case_id"),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposedbox.id"], name="fk_regionbox_proposal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_regionbox"),
    )
    op.create_index("ix_regionbox_case", "regionbox", ["case_id", "slice_index"], unique=False)
    op.create_table(
        "adjudication",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("first_label_id", sa.Integer(), nullable=False),
        sa.Column("second_label_id", sa.Integer(), nullable=False),
        sa.Column("grade", sa.Integer(), nullable=True),
        sa.Column("not_gradable", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("joint", sa.Boolean(), nullable=False),
        sa.Column("present", sa.String(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.CheckConstraint("(grade is null) = (not_gradable <> '')", name="ck_adjudication_grade_or_reason"),
        sa.CheckConstraint("grade between 0 and 3", name="ck_adjudication_grade"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_adjudication_account_id"),
        sa.ForeignKeyConstraint(["case_id"], ["curatedlevel.id"], name="fk_adjudication_case_id"),
        sa.ForeignKeyConstraint(["first_label_id"], ["label.id"], name="fk_adjudication_first_label_id"),
        sa.ForeignKeyConstraint(["second_label_id"], ["label.id"], name="fk_adjudication_second_label_id"),
        sa.PrimaryKeyConstraint("id", name="pk_adjudication"),
    )
    op.create_index("ix_adjudication_case_id", "adjudication", ["case_id"], unique=False)
    op.create_table(
        "labelgrade",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("grade", sa.Integer(), nullable=True),
        sa.Column("not_gradable", sa.String(), nullable=False),
        sa.CheckConstraint("(grade is null) = (not_gradable <> '')", name="ck_labelgrade_grade_or_reason"),
        sa.CheckConstraint("grade between 0 and 3", name="ck_labelgrade_grade"),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_labelgrade_label_id"),
        sa.PrimaryKeyConstraint("id", name="pk_labelgrade"),
        sa.UniqueConstraint("label_id", "region", name="uq_labelgrade_label_id"),
    )
    op.create_index("ix_labelgrade_label_id", "labelgrade", ["label_id"], unique=False)
    op.create_table(
        "referencerow",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("grade", sa.Integer(), nullable=True),
        sa.Column("not_gradable", sa.String(), nullable=False),
        sa.Column("provenance", sa.String(), nullable=False),
        sa.Column("first_label_id", sa.Integer(), nullable=False),
        sa.Column("second_label_id", sa.Integer(), nullable=False),
        sa.Column("adjudication_id", sa.Integer(), nullable=True),
        sa.Column("box", sa.String(), nullable=False),
        sa.CheckConstraint("(grade is null) = (not_gradable <> '')", name="ck_referencerow_grade_or_reason"),
        sa.CheckConstraint("grade between 0 and 3", name="ck_referencerow_grade"),
        sa.ForeignKeyConstraint(["adjudication_id"], ["adjudication.id"], name="fk_referencerow_adjudication_id"),
        sa.ForeignKeyConstraint(["case_id"], ["curatedlevel.id"], name="fk_referencerow_case_id"),
        sa.ForeignKeyConstraint(["first_label_id"], ["label.id"], name="fk_referencerow_first_label_id"),
        sa.ForeignKeyConstraint(["second_label_id"], ["label.id"], name="fk_referencerow_second_label_id"),
        sa.ForeignKeyConstraint(["version_id"], ["referenceversion.id"], name="fk_referencerow_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_referencerow"),
        sa.UniqueConstraint("version_id", "case_id", "region", name="uq_referencerow_version_id"),
    )
    op.create_index("ix_referencerow_version_id", "referencerow", ["version_id"], unique=False)

    make_triggers()


def make_triggers() -> None:
    """Let the database itself refuse to change or delete what must stay."""
    for table in APPEND_ONLY:
        if op.get_bind().dialect.name == "sqlite":
            for act in ("update", "delete"):
                op.execute(
                    f"create trigger {table}_no_{act} before {act} on {table} "
                    f"begin select raise(abort, 'rows of {table} are never changed or deleted'); end"
                )
            continue
        op.execute(
            f"create trigger {table}_append_only before update or delete on {table} "
            "for each row execute function refuse_change()"
        )
        op.execute(
            f"create trigger {table}_no_truncate before truncate on {table} "
            "for each statement execute function refuse_change()"
        )


def downgrade() -> None:
    raise NotImplementedError("Labels and references would be lost: restore a backup instead.")
