-- Messages that were sent to somebody's phone, for the limits on sending.
SET lock_timeout = '2s';

CREATE TABLE "out_of_band_message" (
    "id" UUID NOT NULL,
    "channel" TEXT NOT NULL,
    "user_id" UUID NOT NULL,
    "recipient" BYTEA NOT NULL,
    "asked_from" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "out_of_band_message_pkey" PRIMARY KEY ("id")
);
CREATE INDEX "out_of_band_message_user_id_created_at_idx" ON "out_of_band_message"("user_id", "created_at");
CREATE INDEX "out_of_band_message_recipient_created_at_idx" ON "out_of_band_message"("recipient", "created_at");
CREATE INDEX "out_of_band_message_asked_from_created_at_idx" ON "out_of_band_message"("asked_from", "created_at");
CREATE INDEX "out_of_band_message_expires_at_idx" ON "out_of_band_message"("expires_at");
