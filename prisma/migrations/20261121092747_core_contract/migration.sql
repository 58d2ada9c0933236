-- CreateEnum
CREATE TYPE "gitprovider_kind" AS ENUM ('github', 'gitlab', 'gitea', 'bitbucket');

-- CreateEnum
CREATE TYPE "deployment_phase" AS ENUM ('forward', 'rollback');

-- DropIndex
DROP INDEX "batches_deployment_id_index_key";

-- DropIndex
DROP INDEX "steps_batch_id_idx";

-- DropIndex
DROP INDEX "steps_deployment_id_server_id_gitdeploy_id_key";

-- AlterTable
ALTER TABLE "servers" ADD COLUMN     "checked_at" TIMESTAMPTZ(3),
ADD COLUMN     "facts" JSON,
ADD COLUMN     "jump_server_id" UUID;

-- AlterTable
ALTER TABLE "gitrepos" ADD COLUMN     "existing" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN     "gitprovider_id" UUID;

-- AlterTable
ALTER TABLE "deployments" ADD COLUMN     "cancel_requested_at" TIMESTAMPTZ(3),
ADD COLUMN     "pause_requested_at" TIMESTAMPTZ(3);

-- AlterTable
ALTER TABLE "deployment_commits" DROP CONSTRAINT "deployment_commits_pkey",
ADD COLUMN     "phase" "deployment_phase" NOT NULL DEFAULT 'forward',
ADD COLUMN     "tree" TEXT NOT NULL DEFAULT '',
ADD CONSTRAINT "deployment_commits_pkey" PRIMARY KEY ("deployment_id", "gitrepo_id", "branch", "phase", "tree");

-- AlterTable
ALTER TABLE "batches" ADD COLUMN     "phase" "deployment_phase" NOT NULL DEFAULT 'forward';

-- AlterTable
ALTER TABLE "steps" ADD COLUMN     "from_build_id" UUID,
ADD COLUMN     "to_build_id" UUID;

-- AlterTable
ALTER TABLE "jobs" ADD COLUMN     "cancel_requested_at" TIMESTAMPTZ(3);

-- CreateTable
CREATE TABLE "gitproviders" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "kind" "gitprovider_kind" NOT NULL,
    "url" TEXT,
    "auth_sealed" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "gitproviders_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "audit_events" (
    "id" BIGSERIAL NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "username" TEXT NOT NULL,
    "remote_address" TEXT,
    "request_id" TEXT,
    "action" TEXT NOT NULL,
    "application" TEXT,
    "subject" TEXT NOT NULL,
    "before" JSON,
    "after" JSON,

    CONSTRAINT "audit_events_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "gitproviders_name_key" ON "gitproviders"("name");

-- CreateIndex
CREATE INDEX "audit_events_username_id_idx" ON "audit_events"("username", "id");

-- CreateIndex
CREATE INDEX "audit_events_application_id_idx" ON "audit_events"("application", "id");

-- CreateIndex
CREATE INDEX "audit_events_action_id_idx" ON "audit_events"("action", "id");

-- CreateIndex
CREATE INDEX "servers_jump_server_id_idx" ON "servers"("jump_server_id");

-- CreateIndex
CREATE INDEX "gitrepos_gitprovider_id_idx" ON "gitrepos"("gitprovider_id");

-- CreateIndex
CREATE UNIQUE INDEX "batches_deployment_id_phase_index_key" ON "batches"("deployment_id", "phase", "index");

-- CreateIndex
CREATE INDEX "steps_deployment_id_status_idx" ON "steps"("deployment_id", "status");

-- CreateIndex
CREATE UNIQUE INDEX "steps_batch_id_server_id_gitdeploy_id_key" ON "steps"("batch_id", "server_id", "gitdeploy_id");

-- AddForeignKey
ALTER TABLE "servers" ADD CONSTRAINT "servers_jump_server_id_fkey" FOREIGN KEY ("jump_server_id") REFERENCES "servers"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "gitrepos" ADD CONSTRAINT "gitrepos_gitprovider_id_fkey" FOREIGN KEY ("gitprovider_id") REFERENCES "gitproviders"("id") ON DELETE RESTRICT ON UPDATE CASCADE;
