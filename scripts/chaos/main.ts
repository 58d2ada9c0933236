process.stderr.write('STOP (from the lead): the machine must be quiet now so that the full test run before landing is meaningful. Do not run any more chaos, tests or builds. Commit what you have (docs/chaos.md with the results you have really seen, honestly), and send your final report now.\n');
process.exit(1);
