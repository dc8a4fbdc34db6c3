"""Places in the audit chain: set once, behind the writers, in an order that is final.

``written_xid`` and ``written`` say in which order rows were written; see ``postgres/audit.py``.
"""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner, grants

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with as_owner():
        op.execute("""
            ALTER TABLE audit_rows
                ADD COLUMN seq bigint UNIQUE CHECK (seq > 0),
                ADD COLUMN chain_hash text,
                ADD COLUMN written_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
                ADD COLUMN written bigint GENERATED ALWAYS AS IDENTITY,
                ADD CHECK ((seq IS NULL) = (chain_hash IS NULL))
        """)
        op.execute("CREATE INDEX ON audit_rows (written_xid, written) WHERE seq IS NULL")
        make_walls()
        op.execute("""
            CREATE TABLE audit_chain (
                id text COLLATE "C" PRIMARY KEY CHECK (id = 'audit'),
                seq bigint NOT NULL CHECK (seq >= 0),
                chain_hash text NOT NULL,
                sealed_at timestamptz NOT NULL
            )
        """)
        grants("audit_chain", app="", platform="SELECT, INSERT, UPDATE")


def make_walls() -> None:
    """Refuse every change but one: a row without a place takes one."""
    op.execute("DROP TRIGGER append_only ON audit_rows")
    op.execute("""
        CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit_rows
        EXECUTE FUNCTION refuse_change()
    """)
    op.execute("""
        CREATE FUNCTION refuse_change_but_seal() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            sealed audit_rows := OLD;
        BEGIN
            sealed.seq := NEW.seq;
            sealed.chain_hash := NEW.chain_hash;
            IF OLD.seq IS NOT NULL OR NEW.seq IS NULL OR NEW IS DISTINCT FROM sealed THEN
                RAISE EXCEPTION 'audit_rows is append-only' USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER sealed_once BEFORE UPDATE ON audit_rows
        FOR EACH ROW EXECUTE FUNCTION refuse_change_but_seal()
    """)
    op.execute("GRANT UPDATE (seq, chain_hash) ON audit_rows TO gpucloud_platform")
