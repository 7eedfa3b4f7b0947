-- Lists that read every row of their table when few or none were what was asked for: who is switched off, and what was given up at a webhook.
SET lock_timeout = '2s';

CREATE INDEX "users_disabled_id_idx" ON "users" ("id") WHERE disabled_at IS NOT NULL;
CREATE INDEX "users_disabled_created_at_id_idx" ON "users" ("created_at" DESC, "id" DESC) WHERE disabled_at IS NOT NULL;
CREATE INDEX "webhook_delivery_endpoint_id_state_id_idx" ON "webhook_delivery" ("endpoint_id", "state", "id" DESC);
