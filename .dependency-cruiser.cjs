/** The arrows of docs/architecture.md, enforced. scripts/check-arrows.mjs also asserts how many modules were read. */
const layer = (name, from, allowed) => ({
  name,
  severity: 'error',
  from: { path: from },
  to: { path: '^(src|workers|prisma|test|scripts|bench)/', pathNot: [from, ...allowed] },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: ['\\.config\\.', '\\.d\\.ts$', '^(test|scripts|bench)/'] },
      to: {},
    },
    layer('domain-is-pure', '^src/domain/', []),
    layer('remote-is-pure', '^src/remote/', ['^src/domain/']),
    layer('depot-knows-domain-only', '^src/depot/', ['^src/domain/']),
    layer('transport-knows-domain-and-scripts', '^src/transport/', [
      '^src/domain/',
      '^src/remote/script\\.ts$',
    ]),
    layer('store-knows-domain-only', '^src/store/', ['^src/domain/']),
    layer('queue-knows-domain-only', '^src/queue/', ['^src/domain/']),
    layer('services-never-reach-a-server', '^src/services/', [
      '^src/(domain|store|depot|queue)/',
      // Not ways to a server: reading states and keys that a user sent, and (later) fetching an upload.
      '^src/remote/states/',
      '^src/transport/(http/|keypairs\\.ts$)',
      '^src/config\\.ts$',
    ]),
    layer('jobs-never-call-services', '^src/jobs/', [
      '^src/(domain|store|depot|transport|remote|queue)/',
      '^src/config\\.ts$',
    ]),
    layer('api-knows-services-and-domain', '^src/api/', [
      '^src/(domain|services)/',
      '^src/config\\.ts$',
      // The port alone, not who counts.
      '^src/metrics/metrics\\.ts$',
    ]),
    layer('metrics-know-nobody', '^src/metrics/', []),
    layer('cli-talks-http-only', '^src/cli/', []),
    {
      name: 'domain-and-remote-do-no-io',
      severity: 'error',
      from: { path: '^src/(domain|remote)/' },
      to: { dependencyTypes: ['core'], pathNot: ['^(node:)?(path|crypto|path/posix)$'] },
    },
    {
      name: 'only-store-knows-prisma',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/store/' },
      to: { path: '(@prisma/|src/store/generated/|node_modules/pg/)' },
    },
    {
      name: 'only-queue-knows-bullmq',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/queue/' },
      to: { path: 'node_modules/(bullmq|ioredis)/' },
    },
    {
      name: 'only-metrics-know-prometheus',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/metrics/' },
      to: { path: 'node_modules/prom-client/' },
    },
    {
      name: 'only-transport-knows-ssh',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/transport/' },
      to: { path: 'node_modules/ssh2/' },
    },
    {
      name: 'product-does-not-need-tests',
      severity: 'error',
      from: { path: '^(src|workers|prisma)/' },
      to: { path: '^(test|bench|scripts)/' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^dist/|^src/store/generated/)' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
