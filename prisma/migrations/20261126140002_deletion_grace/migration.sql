-- When a person who asked for deletion is removed for good. NULL: they did not ask, or an administrator took them back.
SET lock_timeout = '2s';

ALTER TABLE "users" ADD COLUMN "delete_after" TIMESTAMPTZ(3);
CREATE INDEX "users_delete_after_idx" ON "users"("delete_after") WHERE delete_after IS NOT NULL;
