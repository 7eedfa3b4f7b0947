-- Looking things up in the record, newest first. Whatever is asked for is one range of one index, in the order of the answer.
SET lock_timeout = '2s';

-- An address that cannot be read as one must not keep its row from being written. IPv4 in IPv6 is IPv4; zones are of another machine.
CREATE FUNCTION audit_address(address TEXT) RETURNS INET LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
BEGIN
  RETURN pg_catalog.regexp_replace(pg_catalog.split_part(address, '%', 1), '^::ffff:(?=\d+\.)', '', 'i')::inet;
EXCEPTION WHEN others THEN
  RETURN NULL;
END $$;

-- serves: everything, between two moments
DROP INDEX "audit_event_at_idx";
CREATE INDEX "audit_event_at_id_idx" ON "audit_event"("at" DESC, "id" DESC);
-- serves: what happened to this thing
DROP INDEX "audit_event_target_kind_target_id_idx";
CREATE INDEX "audit_event_target_kind_target_id_at_id_idx" ON "audit_event"("target_kind", "target_id", "at" DESC, "id" DESC) WHERE "target_id" IS NOT NULL;
-- serves: what this person, client or key did
DROP INDEX "audit_event_actor_kind_actor_id_id_idx";
CREATE INDEX "audit_event_actor_kind_actor_id_at_id_idx" ON "audit_event"("actor_kind", "actor_id", "at" DESC, "id" DESC) WHERE "actor_id" IS NOT NULL;
-- serves: what happened by way of this client
CREATE INDEX "audit_event_client_id_at_id_idx" ON "audit_event"("client_id", "at" DESC, "id" DESC) WHERE "client_id" IS NOT NULL;
-- serves: events of one name
CREATE INDEX "audit_event_event_at_id_idx" ON "audit_event"("event", "at" DESC, "id" DESC);
-- serves: what failed
CREATE INDEX "audit_event_failure_at_id_idx" ON "audit_event"("at" DESC, "id" DESC) WHERE "outcome" = 'failure';
-- serves: what came from an address or a network
CREATE INDEX "audit_event_address_at_id_idx" ON "audit_event"(audit_address("address"), "at" DESC, "id" DESC) WHERE "address" IS NOT NULL;
-- serves: what one request did. By hash: ids of chance are as long as a row and half as long again in a tree.
CREATE INDEX "audit_event_request_id_idx" ON "audit_event" USING hash ("request_id") WHERE "request_id" IS NOT NULL;
-- serves: what stands behind an X-Decision-Id
CREATE INDEX "audit_event_decision_id_idx" ON "audit_event" USING hash ("decision_id") WHERE "decision_id" IS NOT NULL;
