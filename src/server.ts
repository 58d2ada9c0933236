import { runProcess } from './process.ts';

// The API process of the distributed mode.
await runProcess({ api: true, worker: false });
