-- What clients used last, and when: rolled up from tokens as they are swept, never written by a request (docs/decisions/049).
SET lock_timeout = '2s';

CREATE TABLE "client_use" (
    "client_id" TEXT NOT NULL,
    "api_identifier" TEXT NOT NULL,
    "what" TEXT NOT NULL,
    "last_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "client_use_pkey" PRIMARY KEY ("client_id", "api_identifier", "what")
);

CREATE FUNCTION forget_client_use() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM client_use WHERE client_id = OLD.id;
  RETURN NULL;
END $$;
CREATE TRIGGER client_use_forgotten AFTER DELETE ON client FOR EACH ROW EXECUTE FUNCTION forget_client_use();

-- Of scopes that were granted before, the record begins now.
ALTER TABLE "client_scope" ADD COLUMN "granted_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP;
