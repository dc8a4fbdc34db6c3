"""What is claimed of a node is one row, and a claim changes nothing that an index keeps.

Spans under an exclusion constraint were a row of a GiST index for each run of slots, and each slot
changed its state in two indexes. Now one mask per node holds all that is claimed of it: a claim
adds its bits while none of them is set, whoever writes it, and nobody but the owner's trigger
writes the mask. A slot's state is in no index any more, so that its row changes within its page.
"""

from alembic import op

from gpucloud_adapters.postgres.migrations.tenancy import as_owner

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    with as_owner():
        make_claimed_slots()
        keep_states_out_of_indexes()
        stamp_only_what_is_not_stamped()
        make_take_slots()


def make_claimed_slots() -> None:
    # The row is locked by whoever claims of its node, so that of two claims at the same moment
    # the later one sees the bits of the earlier. A whole node is all bits that there can be.
    op.execute("""
        CREATE TABLE claimed_slots (
            node_id text COLLATE "C" PRIMARY KEY REFERENCES nodes DEFERRABLE INITIALLY DEFERRED,
            mask bigint NOT NULL CHECK (mask >= 0)
        ) WITH (fillfactor = 50)
    """)
    op.execute("""
        CREATE FUNCTION slots_of(claim claims) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
            SELECT CASE
                WHEN claim.released_at IS NOT NULL THEN 0
                WHEN claim.whole_node THEN 9223372036854775807
                ELSE claim.mask
            END
        $$
    """)
    op.execute("""
        CREATE FUNCTION keep_claimed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        BEGIN
            IF TG_OP <> 'INSERT' THEN
                UPDATE claimed_slots SET mask = mask & ~slots_of(OLD) WHERE node_id = OLD.node_id;
            END IF;
            IF TG_OP <> 'DELETE' THEN
                INSERT INTO claimed_slots AS claimed VALUES (NEW.node_id, slots_of(NEW))
                ON CONFLICT (node_id) DO UPDATE SET mask = claimed.mask | excluded.mask
                WHERE claimed.mask & excluded.mask = 0;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'a slot of % is claimed already', NEW.node_id
                        USING ERRCODE = 'exclusion_violation';
                END IF;
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("DROP TRIGGER keep_spans ON claims")
    op.execute("DROP FUNCTION keep_spans")
    op.execute("DROP TABLE claim_spans")
    op.execute("""
        CREATE TRIGGER keep_claimed
        AFTER INSERT OR DELETE OR UPDATE OF node_id, mask, whole_node, released_at ON claims
        FOR EACH ROW EXECUTE FUNCTION keep_claimed()
    """)
    op.execute("ALTER TABLE claims NO FORCE ROW LEVEL SECURITY")  # the owner sees all, once
    op.execute("""
        INSERT INTO claimed_slots
        SELECT node_id, bit_or(slots_of(claims)) FROM claims GROUP BY node_id
    """)
    op.execute("ALTER TABLE claims FORCE ROW LEVEL SECURITY")
    # The mask's row refers to the node on behalf of every claim.
    op.execute("ALTER TABLE claims DROP CONSTRAINT claims_node_id_fkey")


def keep_states_out_of_indexes() -> None:
    op.execute("""
        ALTER TABLE slots ADD COLUMN answers boolean NOT NULL
            GENERATED ALWAYS AS (state NOT IN ('proposed', 'disabled')) STORED
    """)
    for first, second, given in (
        ("ssh_host", "ssh_port", ""),
        ("node_id", "disk", " AND disk <> ''"),
        ("node_id", "nic", " AND nic <> ''"),
    ):
        op.execute(f"DROP INDEX slots_{first}_{second}_idx")
        op.execute(f"CREATE UNIQUE INDEX ON slots ({first}, {second}) WHERE answers{given}")
    op.execute("DROP INDEX slots_state_idx")
    op.execute("ALTER TABLE slots SET (fillfactor = 60)")


def stamp_only_what_is_not_stamped() -> None:
    op.execute("DROP TRIGGER stamp ON node_capacity")
    op.execute("""
        CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON node_capacity
        FOR EACH ROW WHEN (NEW.changed_xid IS DISTINCT FROM pg_current_xact_id())
        EXECUTE FUNCTION stamp_change()
    """)


def make_take_slots() -> None:
    # All or nothing: slots are looked at before anything changes. Where the answer is no, the
    # node's capacity row, its gate, may stay locked. Slots change only behind the gate; should
    # one have changed without it, the whole transaction is refused.
    op.execute("""
        CREATE OR REPLACE FUNCTION take_slots(
            node text, wanted bigint, whole boolean, vcpus bigint, memory_mib bigint,
            at timestamptz, may_wait boolean
        ) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE
            gpus CONSTANT bigint := bit_count(wanted::bit(64));
            taken bigint;
        BEGIN
            IF NOT may_wait THEN
                PERFORM FROM node_capacity WHERE node_id = node FOR UPDATE SKIP LOCKED;
                IF NOT FOUND THEN
                    RETURN false;
                END IF;
            END IF;
            UPDATE node_capacity AS c
            SET free_mask = c.free_mask & ~wanted,
                free_vcpus = c.free_vcpus - vcpus,
                free_memory_mib = c.free_memory_mib - memory_mib,
                version = c.version + 1,
                changed_xid = pg_current_xact_id()
            WHERE c.node_id = node AND c.sellable
                AND c.free_mask & wanted = wanted
                AND c.free_vcpus >= vcpus
                AND c.free_memory_mib >= memory_mib
                AND (c.free_mask = c.approved_mask OR (c.shared AND NOT whole))
                AND (c.approved_mask = wanted OR NOT whole)
                AND gpus = (
                    SELECT count(*) FROM slots AS s
                    WHERE s.node_id = node AND s.state = 'available'
                        AND (wanted >> s.index::int) & 1 = 1
                );
            IF NOT FOUND THEN
                RETURN false;
            END IF;
            UPDATE slots AS s SET state = 'claimed', state_since = at, reason = ''
            WHERE s.node_id = node AND s.state = 'available'
                AND (wanted >> s.index::int) & 1 = 1;
            GET DIAGNOSTICS taken = ROW_COUNT;
            IF taken <> gpus THEN
                RAISE EXCEPTION 'a slot of % changed while its gate was held', node
                    USING ERRCODE = 'serialization_failure';
            END IF;
            RETURN true;
        END $$
    """)
