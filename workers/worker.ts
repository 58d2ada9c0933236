import { runProcess } from '../src/process.ts';

// A worker process of the distributed mode; any number of them may run.
await runProcess({ api: false, worker: true });
