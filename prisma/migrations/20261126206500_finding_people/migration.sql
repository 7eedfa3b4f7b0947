-- People are found by the beginning of an address or a name, and listed newest first.
SET lock_timeout = '2s';

CREATE INDEX "users_email_key_prefix_idx" ON "users" ("email_key" text_pattern_ops);
CREATE INDEX "users_name_prefix_idx" ON "users" (lower("name") text_pattern_ops);
CREATE INDEX "users_created_at_id_idx" ON "users" ("created_at" DESC, "id" DESC);
