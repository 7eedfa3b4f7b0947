-- When a browser session was last used: its idle lifetime is counted from here, and people see it in the list of their sessions.
SET lock_timeout = '2s';

ALTER TABLE "session" ADD COLUMN "last_used_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP;
