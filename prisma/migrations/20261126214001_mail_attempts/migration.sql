-- When a mail was last tried and what came of it, for the person who looks why it does not arrive.
SET lock_timeout = '2s';

ALTER TABLE "mail" ADD COLUMN "attempted_at" TIMESTAMPTZ(3), ADD COLUMN "problem" TEXT;
CREATE INDEX "mail_given_up_at_idx" ON "mail" ("given_up_at") WHERE given_up_at IS NOT NULL;
