-- Searches of the record that an administrator keeps under a name.
SET lock_timeout = '2s';

CREATE TABLE "audit_view" (
    "id" UUID NOT NULL,
    "user_id" UUID,
    "client_id" TEXT,
    "name" TEXT NOT NULL,
    "filter" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "audit_view_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "audit_view_one_owner" CHECK (num_nonnulls("user_id", "client_id") = 1),
    CONSTRAINT "audit_view_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT "audit_view_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "client"("id") ON DELETE CASCADE ON UPDATE CASCADE
);
-- serves: the views of one administrator, one of each name
CREATE UNIQUE INDEX "audit_view_user_id_name_key" ON "audit_view"("user_id", "name");
CREATE UNIQUE INDEX "audit_view_client_id_name_key" ON "audit_view"("client_id", "name");
