-- Mails that wait to be sent, and for two days what became of them.
SET lock_timeout = '2s';

CREATE TABLE "mail" (
    "id" UUID NOT NULL,
    "template" TEXT NOT NULL,
    "user_id" UUID,
    "recipient" BYTEA NOT NULL,
    "asked_from" BYTEA,
    "sealed" TEXT,
    "attempts" SMALLINT NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "next_attempt_at" TIMESTAMPTZ(3),
    "sent_at" TIMESTAMPTZ(3),
    "given_up_at" TIMESTAMPTZ(3),
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "mail_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "mail_next_attempt_at_idx" ON "mail"("next_attempt_at") WHERE next_attempt_at IS NOT NULL;
CREATE INDEX "mail_recipient_created_at_idx" ON "mail"("recipient", "created_at");
CREATE INDEX "mail_asked_from_created_at_idx" ON "mail"("asked_from", "created_at") WHERE asked_from IS NOT NULL;
CREATE INDEX "mail_expires_at_idx" ON "mail"("expires_at");
