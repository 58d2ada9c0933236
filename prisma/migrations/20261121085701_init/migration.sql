-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "public";

-- CreateEnum
CREATE TYPE "build_state" AS ENUM ('created', 'storing', 'stored', 'failed');

-- CreateEnum
CREATE TYPE "drift" AS ENUM ('none', 'modified', 'moved', 'unreachable', 'unknown');

-- CreateEnum
CREATE TYPE "deployment_status" AS ENUM ('queued', 'preparing', 'running', 'paused', 'succeeded', 'failed', 'cancelled', 'rolling_back', 'rolled_back');

-- CreateEnum
CREATE TYPE "batch_status" AS ENUM ('pending', 'running', 'succeeded', 'failed', 'skipped', 'cancelled');

-- CreateEnum
CREATE TYPE "step_status" AS ENUM ('pending', 'running', 'succeeded', 'failed', 'skipped', 'cancelled');

-- CreateEnum
CREATE TYPE "job_status" AS ENUM ('queued', 'running', 'succeeded', 'failed', 'cancelled');

-- CreateTable
CREATE TABLE "applications" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "applications_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "builds" (
    "id" UUID NOT NULL,
    "application_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "attributes" JSON NOT NULL DEFAULT '{}',
    "state" "build_state" NOT NULL DEFAULT 'created',
    "file_type" TEXT,
    "size_bytes" BIGINT,
    "sha256" TEXT,
    "error" JSON,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "stored_at" TIMESTAMPTZ(3),

    CONSTRAINT "builds_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "packages" (
    "build_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "tree" TEXT NOT NULL,
    "file_count" INTEGER NOT NULL,
    "size_bytes" BIGINT NOT NULL,

    CONSTRAINT "packages_pkey" PRIMARY KEY ("build_id","name")
);

-- CreateTable
CREATE TABLE "package_maps" (
    "id" UUID NOT NULL,
    "application_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "packages" JSON NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "package_maps_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "keypairs" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "public_key" TEXT NOT NULL,
    "fingerprint" TEXT NOT NULL,
    "private_key_sealed" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "keypairs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "servers" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "environment" TEXT NOT NULL,
    "connection" JSON NOT NULL,
    "keypair_id" UUID,
    "host_key" TEXT,
    "datacenter" TEXT,
    "attributes" JSON NOT NULL DEFAULT '{}',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "servers_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "gitrepos" (
    "id" UUID NOT NULL,
    "application_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "uri" TEXT,
    "keypair_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "gitrepos_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "gitrepo_branches" (
    "gitrepo_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "head_commit" TEXT NOT NULL,
    "head_tree" TEXT NOT NULL,
    "committed_build_id" UUID,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "gitrepo_branches_pkey" PRIMARY KEY ("gitrepo_id","name")
);

-- CreateTable
CREATE TABLE "gitdeploys" (
    "id" UUID NOT NULL,
    "application_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "package_name" TEXT NOT NULL,
    "path" TEXT NOT NULL,
    "gitrepo_id" UUID NOT NULL,
    "branch" TEXT NOT NULL,
    "attributes" JSON NOT NULL DEFAULT '{}',
    "options" JSON NOT NULL,
    "actions" JSON NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "gitdeploys_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "installations" (
    "id" UUID NOT NULL,
    "gitdeploy_id" UUID NOT NULL,
    "server_id" UUID NOT NULL,
    "initialized_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "deployed_build_id" UUID,
    "deployed_commit" TEXT NOT NULL,
    "head_commit" TEXT NOT NULL,
    "deployed_at" TIMESTAMPTZ(3),
    "deployment_id" UUID,
    "drift" "drift" NOT NULL DEFAULT 'unknown',
    "observed_at" TIMESTAMPTZ(3),

    CONSTRAINT "installations_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "groups" (
    "id" UUID NOT NULL,
    "application_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "attributes" JSON NOT NULL DEFAULT '{}',
    "rolling" BOOLEAN NOT NULL DEFAULT false,
    "ordered" BOOLEAN NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "groups_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "group_gitdeploys" (
    "group_id" UUID NOT NULL,
    "gitdeploy_id" UUID NOT NULL,
    "level" INTEGER NOT NULL,
    "position" INTEGER NOT NULL,

    CONSTRAINT "group_gitdeploys_pkey" PRIMARY KEY ("group_id","gitdeploy_id")
);

-- CreateTable
CREATE TABLE "deployments" (
    "id" UUID NOT NULL,
    "application_id" UUID NOT NULL,
    "build_id" UUID,
    "build_name" TEXT NOT NULL,
    "username" TEXT NOT NULL,
    "reason" TEXT,
    "status" "deployment_status" NOT NULL DEFAULT 'queued',
    "target" JSON NOT NULL,
    "options" JSON NOT NULL,
    "error" JSON,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "deployments_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "deployment_commits" (
    "deployment_id" UUID NOT NULL,
    "gitrepo_id" UUID NOT NULL,
    "gitrepo_name" TEXT NOT NULL,
    "branch" TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    "changed_files" JSON NOT NULL,

    CONSTRAINT "deployment_commits_pkey" PRIMARY KEY ("deployment_id","gitrepo_id","branch")
);

-- CreateTable
CREATE TABLE "batches" (
    "id" UUID NOT NULL,
    "deployment_id" UUID NOT NULL,
    "index" INTEGER NOT NULL,
    "slice" INTEGER NOT NULL,
    "level" INTEGER NOT NULL,
    "ordered" BOOLEAN NOT NULL,
    "pause_after_seconds" INTEGER NOT NULL,
    "status" "batch_status" NOT NULL DEFAULT 'pending',
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "batches_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "steps" (
    "id" UUID NOT NULL,
    "batch_id" UUID NOT NULL,
    "deployment_id" UUID NOT NULL,
    "server_id" UUID NOT NULL,
    "server_name" TEXT NOT NULL,
    "gitdeploy_id" UUID NOT NULL,
    "gitdeploy_name" TEXT NOT NULL,
    "status" "step_status" NOT NULL DEFAULT 'pending',
    "from_commit" TEXT,
    "to_commit" TEXT,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "error" JSON,
    "log_excerpt" TEXT,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "steps_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "jobs" (
    "id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "status" "job_status" NOT NULL DEFAULT 'queued',
    "data" JSON NOT NULL,
    "username" TEXT NOT NULL,
    "application_id" UUID,
    "result" JSON,
    "error" JSON,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "worker" TEXT,
    "lease_expires_at" TIMESTAMPTZ(3),
    "run_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "jobs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "events" (
    "id" BIGSERIAL NOT NULL,
    "job_id" UUID,
    "deployment_id" UUID,
    "kind" TEXT NOT NULL,
    "data" JSON NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "events_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "leases" (
    "key" TEXT NOT NULL,
    "holder" TEXT NOT NULL,
    "fence" BIGINT NOT NULL DEFAULT 1,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "leases_pkey" PRIMARY KEY ("key")
);

-- CreateTable
CREATE TABLE "users" (
    "id" UUID NOT NULL,
    "username" TEXT NOT NULL,
    "password_hash" TEXT,
    "permissions" JSON NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "users_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "tokens" (
    "id" UUID NOT NULL,
    "user_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),

    CONSTRAINT "tokens_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "idempotency_keys" (
    "user_id" UUID NOT NULL,
    "key" TEXT NOT NULL,
    "request_hash" TEXT NOT NULL,
    "status_code" INTEGER,
    "headers" JSON,
    "body" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("user_id","key")
);

-- CreateIndex
CREATE UNIQUE INDEX "applications_name_key" ON "applications"("name");

-- CreateIndex
CREATE UNIQUE INDEX "builds_application_id_name_key" ON "builds"("application_id", "name");

-- CreateIndex
CREATE UNIQUE INDEX "package_maps_application_id_name_key" ON "package_maps"("application_id", "name");

-- CreateIndex
CREATE UNIQUE INDEX "keypairs_name_key" ON "keypairs"("name");

-- CreateIndex
CREATE UNIQUE INDEX "servers_name_key" ON "servers"("name");

-- CreateIndex
CREATE INDEX "servers_environment_idx" ON "servers"("environment");

-- CreateIndex
CREATE INDEX "servers_keypair_id_idx" ON "servers"("keypair_id");

-- CreateIndex
CREATE INDEX "gitrepos_keypair_id_idx" ON "gitrepos"("keypair_id");

-- CreateIndex
CREATE UNIQUE INDEX "gitrepos_application_id_name_key" ON "gitrepos"("application_id", "name");

-- CreateIndex
CREATE INDEX "gitrepo_branches_committed_build_id_idx" ON "gitrepo_branches"("committed_build_id");

-- CreateIndex
CREATE INDEX "gitdeploys_gitrepo_id_idx" ON "gitdeploys"("gitrepo_id");

-- CreateIndex
CREATE UNIQUE INDEX "gitdeploys_application_id_name_key" ON "gitdeploys"("application_id", "name");

-- CreateIndex
CREATE INDEX "installations_server_id_idx" ON "installations"("server_id");

-- CreateIndex
CREATE INDEX "installations_deployed_build_id_idx" ON "installations"("deployed_build_id");

-- CreateIndex
CREATE INDEX "installations_deployment_id_idx" ON "installations"("deployment_id");

-- CreateIndex
CREATE UNIQUE INDEX "installations_gitdeploy_id_server_id_key" ON "installations"("gitdeploy_id", "server_id");

-- CreateIndex
CREATE UNIQUE INDEX "groups_application_id_name_key" ON "groups"("application_id", "name");

-- CreateIndex
CREATE INDEX "group_gitdeploys_gitdeploy_id_idx" ON "group_gitdeploys"("gitdeploy_id");

-- CreateIndex
CREATE INDEX "deployments_application_id_id_idx" ON "deployments"("application_id", "id" DESC);

-- CreateIndex
CREATE INDEX "deployments_build_id_idx" ON "deployments"("build_id");

-- CreateIndex
CREATE INDEX "deployments_status_idx" ON "deployments"("status");

-- CreateIndex
CREATE UNIQUE INDEX "batches_deployment_id_index_key" ON "batches"("deployment_id", "index");

-- CreateIndex
CREATE INDEX "steps_batch_id_idx" ON "steps"("batch_id");

-- CreateIndex
CREATE UNIQUE INDEX "steps_deployment_id_server_id_gitdeploy_id_key" ON "steps"("deployment_id", "server_id", "gitdeploy_id");

-- CreateIndex
CREATE INDEX "jobs_status_run_at_idx" ON "jobs"("status", "run_at");

-- CreateIndex
CREATE INDEX "jobs_application_id_idx" ON "jobs"("application_id");

-- CreateIndex
CREATE INDEX "events_job_id_id_idx" ON "events"("job_id", "id");

-- CreateIndex
CREATE INDEX "events_deployment_id_id_idx" ON "events"("deployment_id", "id");

-- CreateIndex
CREATE UNIQUE INDEX "users_username_key" ON "users"("username");

-- CreateIndex
CREATE UNIQUE INDEX "tokens_hash_key" ON "tokens"("hash");

-- CreateIndex
CREATE INDEX "tokens_user_id_idx" ON "tokens"("user_id");

-- CreateIndex
CREATE INDEX "idempotency_keys_created_at_idx" ON "idempotency_keys"("created_at");

-- AddForeignKey
ALTER TABLE "builds" ADD CONSTRAINT "builds_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "packages" ADD CONSTRAINT "packages_build_id_fkey" FOREIGN KEY ("build_id") REFERENCES "builds"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "package_maps" ADD CONSTRAINT "package_maps_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "servers" ADD CONSTRAINT "servers_keypair_id_fkey" FOREIGN KEY ("keypair_id") REFERENCES "keypairs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "gitrepos" ADD CONSTRAINT "gitrepos_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "gitrepos" ADD CONSTRAINT "gitrepos_keypair_id_fkey" FOREIGN KEY ("keypair_id") REFERENCES "keypairs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "gitrepo_branches" ADD CONSTRAINT "gitrepo_branches_gitrepo_id_fkey" FOREIGN KEY ("gitrepo_id") REFERENCES "gitrepos"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "gitrepo_branches" ADD CONSTRAINT "gitrepo_branches_committed_build_id_fkey" FOREIGN KEY ("committed_build_id") REFERENCES "builds"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "gitdeploys" ADD CONSTRAINT "gitdeploys_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "gitdeploys" ADD CONSTRAINT "gitdeploys_gitrepo_id_fkey" FOREIGN KEY ("gitrepo_id") REFERENCES "gitrepos"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "installations" ADD CONSTRAINT "installations_gitdeploy_id_fkey" FOREIGN KEY ("gitdeploy_id") REFERENCES "gitdeploys"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "installations" ADD CONSTRAINT "installations_server_id_fkey" FOREIGN KEY ("server_id") REFERENCES "servers"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "installations" ADD CONSTRAINT "installations_deployed_build_id_fkey" FOREIGN KEY ("deployed_build_id") REFERENCES "builds"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "installations" ADD CONSTRAINT "installations_deployment_id_fkey" FOREIGN KEY ("deployment_id") REFERENCES "deployments"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "groups" ADD CONSTRAINT "groups_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "group_gitdeploys" ADD CONSTRAINT "group_gitdeploys_group_id_fkey" FOREIGN KEY ("group_id") REFERENCES "groups"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "group_gitdeploys" ADD CONSTRAINT "group_gitdeploys_gitdeploy_id_fkey" FOREIGN KEY ("gitdeploy_id") REFERENCES "gitdeploys"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "deployments" ADD CONSTRAINT "deployments_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "deployment_commits" ADD CONSTRAINT "deployment_commits_deployment_id_fkey" FOREIGN KEY ("deployment_id") REFERENCES "deployments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "batches" ADD CONSTRAINT "batches_deployment_id_fkey" FOREIGN KEY ("deployment_id") REFERENCES "deployments"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "steps" ADD CONSTRAINT "steps_batch_id_fkey" FOREIGN KEY ("batch_id") REFERENCES "batches"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "tokens" ADD CONSTRAINT "tokens_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE CASCADE ON UPDATE CASCADE;
