-- The record of what happened becomes append-only, and a chain: whatever is changed, removed, inserted or reordered shows (docs/audit.md).
SET lock_timeout = '2s';

-- Under which id a refusal was answered (X-Decision-Id).
ALTER TABLE "audit_event" ADD COLUMN "decision_id" TEXT;
-- Which transaction wrote the row: the sealer reads by snapshots, as readers of the feed of revocations do. What is there already has the number of
-- this one.
ALTER TABLE "audit_event" ADD COLUMN "transaction" XID8 NOT NULL DEFAULT pg_current_xact_id();
-- serves: what was committed since the sealer's last look (src/audit/seal.ts)
CREATE INDEX "audit_event_transaction_id_idx" ON "audit_event"("transaction", "id");

-- One for each row that was committed, by the sealer. The hash covers the row and the hash before it.
CREATE TABLE "audit_seal" (
    "position" BIGINT NOT NULL,
    "event_id" BIGINT NOT NULL,
    "hash" BYTEA NOT NULL,

    CONSTRAINT "audit_seal_pkey" PRIMARY KEY ("position")
);
CREATE UNIQUE INDEX "audit_seal_event_id_key" ON "audit_seal"("event_id");

-- How far the chain has come. One row; whoever seals holds it.
CREATE TABLE "audit_chain" (
    "id" SMALLINT NOT NULL DEFAULT 1,
    "position" BIGINT NOT NULL DEFAULT 0,
    "hash" BYTEA NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    "seen" PG_SNAPSHOT NOT NULL DEFAULT '1:1:',
    "walk_until" PG_SNAPSHOT,
    "walk_transaction" XID8,
    "walk_id" BIGINT,
    "start_position" BIGINT NOT NULL DEFAULT 0,
    "start_hash" BYTEA NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    "signed_position" BIGINT NOT NULL DEFAULT 0,
    "signed_at" TIMESTAMPTZ(3),
    "streamed_position" BIGINT NOT NULL DEFAULT 0,
    "streamed_checkpoint" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "audit_chain_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "audit_chain_one_row" CHECK ("id" = 1)
);
INSERT INTO "audit_chain" DEFAULT VALUES;

-- What the chain was at a moment, signed: a JWS.
CREATE TABLE "audit_checkpoint" (
    "id" BIGSERIAL NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "position" BIGINT NOT NULL,
    "statement" TEXT NOT NULL,

    CONSTRAINT "audit_checkpoint_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "audit_checkpoint_position_idx" ON "audit_checkpoint"("position");

-- The database itself says no. What retention takes is behind the start of the chain, which was moved, and signed, in the same transaction.
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit record is append-only: % of % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION keep_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM audit_seal s, audit_chain c WHERE s.event_id = OLD.id AND s.position <= c.start_position) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'the audit record is append-only: DELETE of audit_event is refused' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION keep_audit_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.position <= (SELECT c.start_position FROM audit_chain c) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'the audit record is append-only: DELETE of % is refused', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION keep_audit_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.position >= OLD.position AND NEW.start_position >= OLD.start_position AND NEW.start_position <= NEW.position THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'the audit record is append-only: its chain only grows' USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR TRUNCATE ON audit_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_event_kept BEFORE DELETE ON audit_event FOR EACH ROW EXECUTE FUNCTION keep_audit_event();
CREATE TRIGGER audit_seal_append_only BEFORE UPDATE OR TRUNCATE ON audit_seal FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_seal_kept BEFORE DELETE ON audit_seal FOR EACH ROW EXECUTE FUNCTION keep_audit_link();
CREATE TRIGGER audit_checkpoint_append_only BEFORE UPDATE OR TRUNCATE ON audit_checkpoint FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_checkpoint_kept BEFORE DELETE ON audit_checkpoint FOR EACH ROW EXECUTE FUNCTION keep_audit_link();
CREATE TRIGGER audit_chain_grows BEFORE UPDATE ON audit_chain FOR EACH ROW EXECUTE FUNCTION keep_audit_chain();
CREATE TRIGGER audit_chain_stays BEFORE DELETE OR TRUNCATE ON audit_chain FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
-- Also in a session that plays the replica, where ordinary triggers sleep.
ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_append_only;
ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_kept;
ALTER TABLE audit_seal ENABLE ALWAYS TRIGGER audit_seal_append_only;
ALTER TABLE audit_seal ENABLE ALWAYS TRIGGER audit_seal_kept;
ALTER TABLE audit_checkpoint ENABLE ALWAYS TRIGGER audit_checkpoint_append_only;
ALTER TABLE audit_checkpoint ENABLE ALWAYS TRIGGER audit_checkpoint_kept;
ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER audit_chain_grows;
ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER audit_chain_stays;
