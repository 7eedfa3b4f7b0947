-- A person looks at what they did: by the actor, newest first.
SET lock_timeout = '2s';

CREATE INDEX "audit_event_actor_kind_actor_id_id_idx" ON "audit_event"("actor_kind", "actor_id", "id" DESC);
