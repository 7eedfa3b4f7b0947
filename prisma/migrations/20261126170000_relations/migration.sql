-- Who stands how to what: order:88#owner@user:42 (docs/decisions/035). Bytes are compared ("C"), so that pages have one order on every server.
SET lock_timeout = '2s';

CREATE TABLE "relation" (
    "object_type" TEXT COLLATE "C" NOT NULL,
    "object_id" TEXT COLLATE "C" NOT NULL,
    "relation" TEXT COLLATE "C" NOT NULL,
    "subject_relation" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "subject_type" TEXT COLLATE "C" NOT NULL,
    "subject_id" TEXT COLLATE "C" NOT NULL,

    CONSTRAINT "relation_pkey" PRIMARY KEY ("object_type", "object_id", "relation", "subject_relation", "subject_type", "subject_id")
);
CREATE INDEX "relation_subject_idx" ON "relation"("subject_type", "subject_id", "subject_relation", "relation", "object_type", "object_id");

-- A server that has counted a few dozen rows plans to read them all, and keeps that plan while somebody brings in a million. One that never
-- looked at a table takes it for larger than that: so it looks when the answer no longer matters.
ALTER TABLE "relation" SET (autovacuum_analyze_threshold = 5000, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = 5000);

-- The kinds of sets and parents that were ever written: by which types and relations a search may go.
CREATE TABLE "relation_link" (
    "object_type" TEXT COLLATE "C" NOT NULL,
    "relation" TEXT COLLATE "C" NOT NULL,
    "subject_type" TEXT COLLATE "C" NOT NULL,
    "subject_relation" TEXT COLLATE "C" NOT NULL DEFAULT '',

    CONSTRAINT "relation_link_pkey" PRIMARY KEY ("object_type", "relation", "subject_type", "subject_relation")
);

-- Relations name people and clients that need not be there yet, so no foreign key can hold them. Whoever is deleted takes theirs along in the
-- same commit, whichever path deletes them: a client's id may be given to another later.
CREATE FUNCTION remove_relations() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM relation WHERE subject_type = TG_ARGV[0] AND subject_id = OLD.id::text;
  DELETE FROM relation WHERE object_type = TG_ARGV[0] AND object_id = OLD.id::text;
  RETURN NULL;
END $$;
CREATE TRIGGER user_relations_removed AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION remove_relations('user');
CREATE TRIGGER client_relations_removed AFTER DELETE ON client FOR EACH ROW EXECUTE FUNCTION remove_relations('client');
