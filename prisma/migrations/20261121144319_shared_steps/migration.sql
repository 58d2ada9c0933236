-- AlterTable
ALTER TABLE "steps" ADD COLUMN     "is_staged" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN     "job_id" UUID,
ADD COLUMN     "target_commit" TEXT;
