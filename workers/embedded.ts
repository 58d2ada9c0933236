import { runProcess } from '../src/process.ts';

// API and worker in one process; without DATABASE_URL and REDIS_URL it brings its own PostgreSQL.
await runProcess({ api: true, worker: true });
