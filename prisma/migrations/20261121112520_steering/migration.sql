-- CreateEnum
CREATE TYPE "switch_mode" AS ENUM ('in_place', 'atomic');

-- CreateEnum
CREATE TYPE "webhook_kind" AS ENUM ('webhook', 'slack');

-- CreateEnum
CREATE TYPE "delivery_status" AS ENUM ('pending', 'delivered', 'failed');

-- AlterTable
ALTER TABLE "applications" ADD COLUMN     "auto_catchup" BOOLEAN NOT NULL DEFAULT false;

-- AlterTable
ALTER TABLE "gitdeploys" ADD COLUMN     "health_checks" JSON NOT NULL DEFAULT '[]',
ADD COLUMN     "keep_releases" INTEGER NOT NULL DEFAULT 5,
ADD COLUMN     "switch_mode" "switch_mode" NOT NULL DEFAULT 'in_place';

-- AlterTable
ALTER TABLE "installations" ADD COLUMN     "missed_at" TIMESTAMPTZ(3),
ADD COLUMN     "missed_build_id" UUID,
ADD COLUMN     "missed_deployment_id" UUID;

-- AlterTable
ALTER TABLE "deployments" ADD COLUMN     "plan_hash" TEXT,
ADD COLUMN     "superseded_by_id" UUID,
ADD COLUMN     "waiting_for" JSON;

-- AlterTable
ALTER TABLE "batches" ADD COLUMN     "approval_after" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN     "approved_at" TIMESTAMPTZ(3),
ADD COLUMN     "approved_by" TEXT,
ADD COLUMN     "canary" BOOLEAN NOT NULL DEFAULT false;

-- AlterTable
ALTER TABLE "steps" ADD COLUMN     "progress" JSON;

-- AlterTable
ALTER TABLE "jobs" ADD COLUMN     "user_id" UUID;

-- CreateTable
CREATE TABLE "freeze_windows" (
    "id" UUID NOT NULL,
    "environment" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "schedule" TEXT NOT NULL,
    "duration_seconds" INTEGER NOT NULL,
    "timezone" TEXT NOT NULL DEFAULT 'UTC',
    "reason" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "freeze_windows_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "webhooks" (
    "id" UUID NOT NULL,
    "application_id" UUID,
    "name" TEXT NOT NULL,
    "kind" "webhook_kind" NOT NULL DEFAULT 'webhook',
    "url_sealed" BYTEA NOT NULL,
    "secret_sealed" BYTEA,
    "events" TEXT[],
    "active" BOOLEAN NOT NULL DEFAULT true,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "webhooks_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "webhook_deliveries" (
    "id" UUID NOT NULL,
    "webhook_id" UUID NOT NULL,
    "event" TEXT NOT NULL,
    "payload" JSON NOT NULL,
    "status" "delivery_status" NOT NULL DEFAULT 'pending',
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "next_attempt_at" TIMESTAMPTZ(3) DEFAULT CURRENT_TIMESTAMP,
    "response_status" INTEGER,
    "error" TEXT,
    "resend_of_id" UUID,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "delivered_at" TIMESTAMPTZ(3),

    CONSTRAINT "webhook_deliveries_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "freeze_windows_environment_name_key" ON "freeze_windows"("environment", "name");

-- CreateIndex
CREATE UNIQUE INDEX "webhooks_application_id_name_key" ON "webhooks"("application_id", "name");

-- CreateIndex
CREATE INDEX "webhook_deliveries_webhook_id_id_idx" ON "webhook_deliveries"("webhook_id", "id" DESC);

-- CreateIndex
CREATE INDEX "webhook_deliveries_status_next_attempt_at_idx" ON "webhook_deliveries"("status", "next_attempt_at");

-- CreateIndex
CREATE INDEX "installations_missed_build_id_idx" ON "installations"("missed_build_id");

-- CreateIndex
CREATE INDEX "jobs_user_id_idx" ON "jobs"("user_id");

-- CreateIndex
CREATE INDEX "audit_events_at_idx" ON "audit_events"("at");

-- AddForeignKey
ALTER TABLE "installations" ADD CONSTRAINT "installations_missed_build_id_fkey" FOREIGN KEY ("missed_build_id") REFERENCES "builds"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "webhooks" ADD CONSTRAINT "webhooks_application_id_fkey" FOREIGN KEY ("application_id") REFERENCES "applications"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_webhook_id_fkey" FOREIGN KEY ("webhook_id") REFERENCES "webhooks"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- The names of webhooks that hold for all applications: NULLs are distinct in the index above.
CREATE UNIQUE INDEX "webhooks_global_name_key" ON "webhooks"("name") WHERE "application_id" IS NULL;

-- Names sort, and pages of lists go on, by bytes, whatever the collation of the database.
ALTER TABLE "applications" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "builds" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "packages" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "package_maps" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "keypairs" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "gitproviders" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "servers" ALTER COLUMN "name" TYPE TEXT COLLATE "C", ALTER COLUMN "environment" TYPE TEXT COLLATE "C";
ALTER TABLE "gitrepos" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "gitdeploys" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "groups" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "users" ALTER COLUMN "username" TYPE TEXT COLLATE "C";
ALTER TABLE "freeze_windows" ALTER COLUMN "environment" TYPE TEXT COLLATE "C", ALTER COLUMN "name" TYPE TEXT COLLATE "C";
ALTER TABLE "webhooks" ALTER COLUMN "name" TYPE TEXT COLLATE "C";
