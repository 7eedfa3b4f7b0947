-- The first schema: every room's tables.
SET lock_timeout = '2s';

-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "public";

-- CreateTable
CREATE TABLE "role" (
    "name" TEXT NOT NULL,
    "description" TEXT NOT NULL DEFAULT '',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "role_pkey" PRIMARY KEY ("name")
);

-- CreateTable
CREATE TABLE "role_permission" (
    "role_name" TEXT NOT NULL,
    "permission" TEXT NOT NULL,

    CONSTRAINT "role_permission_pkey" PRIMARY KEY ("role_name","permission")
);

-- CreateTable
CREATE TABLE "user_role" (
    "user_id" UUID NOT NULL,
    "role_name" TEXT NOT NULL,

    CONSTRAINT "user_role_pkey" PRIMARY KEY ("user_id","role_name")
);

-- CreateTable
CREATE TABLE "api_key" (
    "id" BYTEA NOT NULL,
    "hint" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "api_identifier" TEXT NOT NULL,
    "scopes" TEXT[],
    "user_id" UUID,
    "client_id" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "last_used_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "api_key_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "api" (
    "identifier" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "access_token_format" TEXT NOT NULL DEFAULT 'jwt',
    "access_token_ttl_seconds" INTEGER NOT NULL DEFAULT 900,
    "accept" TEXT[] DEFAULT ARRAY['oauth']::TEXT[],
    "hide_existence" BOOLEAN NOT NULL DEFAULT false,
    "generation" INTEGER NOT NULL DEFAULT 0,
    "built_in" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "api_pkey" PRIMARY KEY ("identifier")
);

-- CreateTable
CREATE TABLE "scope" (
    "api_identifier" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT NOT NULL,

    CONSTRAINT "scope_pkey" PRIMARY KEY ("api_identifier","name")
);

-- CreateTable
CREATE TABLE "api_introspection_client" (
    "api_identifier" TEXT NOT NULL,
    "client_id" TEXT NOT NULL,

    CONSTRAINT "api_introspection_client_pkey" PRIMARY KEY ("api_identifier","client_id")
);

-- CreateTable
CREATE TABLE "route" (
    "id" UUID NOT NULL,
    "position" INTEGER NOT NULL,
    "host" TEXT NOT NULL,
    "method" TEXT NOT NULL,
    "path" TEXT NOT NULL,
    "api_identifier" TEXT NOT NULL,
    "scopes" TEXT[],
    "roles" TEXT[],
    "relation" TEXT,
    "anonymous" BOOLEAN NOT NULL DEFAULT false,

    CONSTRAINT "route_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "audit_event" (
    "id" BIGSERIAL NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "event" TEXT NOT NULL,
    "outcome" TEXT NOT NULL,
    "actor_kind" TEXT,
    "actor_id" TEXT,
    "target_kind" TEXT,
    "target_id" TEXT,
    "client_id" TEXT,
    "address" TEXT,
    "user_agent" TEXT,
    "request_id" TEXT,
    "detail" JSONB NOT NULL DEFAULT '{}',

    CONSTRAINT "audit_event_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "client" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "profile" TEXT NOT NULL DEFAULT 'default',
    "grant_types" TEXT[],
    "redirect_uris" TEXT[],
    "post_logout_redirect_uris" TEXT[],
    "scopes" TEXT[],
    "token_endpoint_auth_method" TEXT NOT NULL,
    "id_token_signed_response_alg" TEXT NOT NULL DEFAULT 'ES256',
    "jwks" JSONB,
    "refresh_leeway_seconds" INTEGER NOT NULL DEFAULT 30,
    "refresh_token_ttl_seconds" INTEGER NOT NULL DEFAULT 1209600,
    "client_uri" TEXT,
    "logo_uri" TEXT,
    "policy_uri" TEXT,
    "tos_uri" TEXT,
    "generation" INTEGER NOT NULL DEFAULT 0,
    "disabled_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "client_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "client_secret" (
    "id" UUID NOT NULL,
    "client_id" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),

    CONSTRAINT "client_secret_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "client_scope" (
    "client_id" TEXT NOT NULL,
    "api_identifier" TEXT NOT NULL,
    "scope_name" TEXT NOT NULL,

    CONSTRAINT "client_scope_pkey" PRIMARY KEY ("client_id","api_identifier","scope_name")
);

-- CreateTable
CREATE TABLE "signing_key" (
    "kid" TEXT NOT NULL,
    "alg" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "public_jwk" JSONB NOT NULL,
    "private_jwk" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "activated_at" TIMESTAMPTZ(3),
    "retired_at" TIMESTAMPTZ(3),

    CONSTRAINT "signing_key_pkey" PRIMARY KEY ("kid")
);

-- CreateTable
CREATE TABLE "configuration_version" (
    "id" SMALLINT NOT NULL DEFAULT 1,
    "version" BIGINT NOT NULL DEFAULT 0,
    "changed_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "configuration_version_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "oauth_grant" (
    "id" TEXT NOT NULL,
    "user_id" UUID NOT NULL,
    "client_id" TEXT NOT NULL,
    "session_uid" TEXT,
    "scopes" TEXT[],
    "rejected_scopes" TEXT[],
    "resource_scopes" JSONB NOT NULL DEFAULT '{}',
    "rejected_resource_scopes" JSONB NOT NULL DEFAULT '{}',
    "generation" INTEGER NOT NULL DEFAULT 0,
    "payload" JSON NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "oauth_grant_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "consent" (
    "user_id" UUID NOT NULL,
    "client_id" TEXT NOT NULL,
    "scopes" TEXT[],
    "resource_scopes" JSONB NOT NULL DEFAULT '{}',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "consent_pkey" PRIMARY KEY ("user_id","client_id")
);

-- CreateTable
CREATE TABLE "session" (
    "uid" TEXT NOT NULL,
    "cookie_hash" BYTEA NOT NULL,
    "user_id" UUID,
    "login_at" TIMESTAMPTZ(0),
    "acr" TEXT,
    "amr" TEXT[],
    "clients" JSONB NOT NULL DEFAULT '{}',
    "generation" INTEGER NOT NULL DEFAULT 0,
    "user_generation" INTEGER NOT NULL DEFAULT 0,
    "payload" JSON NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),

    CONSTRAINT "session_pkey" PRIMARY KEY ("uid")
);

-- CreateTable
CREATE TABLE "token" (
    "id" BYTEA NOT NULL,
    "kind" SMALLINT NOT NULL,
    "client_id" TEXT,
    "user_id" UUID,
    "grant_id" TEXT,
    "session_uid" TEXT,
    "resource" TEXT,
    "scope" TEXT,
    "user_code_hash" BYTEA,
    "issued_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "consumed_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),
    "salt" BYTEA,
    "successor_id" BYTEA,
    "predecessor_id" BYTEA,
    "repeats" SMALLINT NOT NULL DEFAULT 0,
    "grant_generation" INTEGER NOT NULL DEFAULT 0,
    "session_generation" INTEGER NOT NULL DEFAULT 0,
    "user_generation" INTEGER NOT NULL DEFAULT 0,
    "client_generation" INTEGER NOT NULL DEFAULT 0,
    "api_generation" INTEGER NOT NULL DEFAULT 0,
    "payload" JSON NOT NULL,

    CONSTRAINT "token_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "interaction" (
    "id" BYTEA NOT NULL,
    "client_id" TEXT,
    "user_id" UUID,
    "session_uid" TEXT,
    "prompt" TEXT,
    "payload" JSON NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),

    CONSTRAINT "interaction_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "replay" (
    "id" BYTEA NOT NULL,
    "payload" JSON NOT NULL,
    "expires_at" TIMESTAMPTZ(3),

    CONSTRAINT "replay_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "users" (
    "id" UUID NOT NULL,
    "email" TEXT NOT NULL,
    "email_key" TEXT NOT NULL,
    "email_verified_at" TIMESTAMPTZ(3),
    "name" TEXT,
    "given_name" TEXT,
    "family_name" TEXT,
    "picture" TEXT,
    "locale" TEXT,
    "zoneinfo" TEXT,
    "attributes" JSONB NOT NULL DEFAULT '{}',
    "generation" INTEGER NOT NULL DEFAULT 0,
    "disabled_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "users_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "credential" (
    "id" UUID NOT NULL,
    "user_id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "name" TEXT,
    "secret" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "last_used_at" TIMESTAMPTZ(3),

    CONSTRAINT "credential_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "setup_code" (
    "id" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "consumed_at" TIMESTAMPTZ(3),

    CONSTRAINT "setup_code_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "user_role_role_name_idx" ON "user_role"("role_name");

-- CreateIndex
CREATE INDEX "api_key_user_id_idx" ON "api_key"("user_id");

-- CreateIndex
CREATE INDEX "api_key_client_id_idx" ON "api_key"("client_id");

-- CreateIndex
CREATE INDEX "api_introspection_client_client_id_idx" ON "api_introspection_client"("client_id");

-- CreateIndex
CREATE UNIQUE INDEX "route_host_method_path_key" ON "route"("host", "method", "path");

-- CreateIndex
CREATE INDEX "audit_event_at_idx" ON "audit_event"("at");

-- CreateIndex
CREATE INDEX "audit_event_target_kind_target_id_idx" ON "audit_event"("target_kind", "target_id");

-- CreateIndex
CREATE INDEX "client_secret_client_id_idx" ON "client_secret"("client_id");

-- CreateIndex
CREATE INDEX "client_scope_api_identifier_scope_name_idx" ON "client_scope"("api_identifier", "scope_name");

-- CreateIndex
CREATE INDEX "oauth_grant_user_id_idx" ON "oauth_grant"("user_id");

-- CreateIndex
CREATE INDEX "oauth_grant_client_id_idx" ON "oauth_grant"("client_id");

-- CreateIndex
CREATE INDEX "oauth_grant_expires_at_idx" ON "oauth_grant"("expires_at");

-- CreateIndex
CREATE INDEX "consent_client_id_idx" ON "consent"("client_id");

-- CreateIndex
CREATE UNIQUE INDEX "session_cookie_hash_key" ON "session"("cookie_hash");

-- CreateIndex
CREATE INDEX "session_user_id_idx" ON "session"("user_id");

-- CreateIndex
CREATE INDEX "session_expires_at_idx" ON "session"("expires_at");

-- CreateIndex
CREATE INDEX "token_grant_id_idx" ON "token"("grant_id");

-- CreateIndex
CREATE INDEX "token_user_code_hash_issued_at_idx" ON "token"("user_code_hash", "issued_at" DESC);

-- CreateIndex
CREATE INDEX "token_expires_at_idx" ON "token"("expires_at");

-- CreateIndex
CREATE INDEX "interaction_expires_at_idx" ON "interaction"("expires_at");

-- CreateIndex
CREATE INDEX "replay_expires_at_idx" ON "replay"("expires_at");

-- CreateIndex
CREATE UNIQUE INDEX "users_email_key_key" ON "users"("email_key");

-- CreateIndex
CREATE INDEX "credential_user_id_kind_idx" ON "credential"("user_id", "kind");

-- AddForeignKey
ALTER TABLE "role_permission" ADD CONSTRAINT "role_permission_role_name_fkey" FOREIGN KEY ("role_name") REFERENCES "role"("name") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "user_role" ADD CONSTRAINT "user_role_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "user_role" ADD CONSTRAINT "user_role_role_name_fkey" FOREIGN KEY ("role_name") REFERENCES "role"("name") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "client"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "scope" ADD CONSTRAINT "scope_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "api_introspection_client" ADD CONSTRAINT "api_introspection_client_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "api_introspection_client" ADD CONSTRAINT "api_introspection_client_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "client"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "route" ADD CONSTRAINT "route_api_identifier_fkey" FOREIGN KEY ("api_identifier") REFERENCES "api"("identifier") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "client_secret" ADD CONSTRAINT "client_secret_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "client"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "client_scope" ADD CONSTRAINT "client_scope_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "client"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "client_scope" ADD CONSTRAINT "client_scope_api_identifier_scope_name_fkey" FOREIGN KEY ("api_identifier", "scope_name") REFERENCES "scope"("api_identifier", "name") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "consent" ADD CONSTRAINT "consent_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "consent" ADD CONSTRAINT "consent_client_id_fkey" FOREIGN KEY ("client_id") REFERENCES "client"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "credential" ADD CONSTRAINT "credential_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;


INSERT INTO "configuration_version" ("id", "version") VALUES (1, 0);
