-- What trials of applications were lent and did not give back yet, so that it is taken back when nobody does (docs/decisions/050).
SET lock_timeout = '2s';

CREATE TABLE "client_trial" (
    "id" UUID NOT NULL,
    "client_id" TEXT NOT NULL,
    "callback" TEXT NOT NULL,
    "secret_id" UUID,
    "lent_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "client_trial_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "client_trial_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "client" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX "client_trial_client_id_idx" ON "client_trial" ("client_id");
CREATE INDEX "client_trial_lent_at_idx" ON "client_trial" ("lent_at");
