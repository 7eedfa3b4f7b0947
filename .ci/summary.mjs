// Reads vitest's JSON report and prints "N passed, N failed". Fails when a project ran no test: a green run of nothing is red.
import { readFileSync } from 'node:fs'
import { matchesGlob, relative } from 'node:path'
import config from '../vitest.config.ts'

const report = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
const files = report.testResults.map((result) => ({ ...result, path: relative(process.cwd(), result.name) }))
const count = (result, status) => result.assertionResults.filter((one) => one.status === status).length

for (const { test } of config.test.projects) {
  const matches = (path, patterns) => patterns.some((pattern) => matchesGlob(path, pattern))
  const own = files.filter(({ path }) => matches(path, test.include) && !matches(path, test.exclude))
  const passed = own.reduce((sum, result) => sum + count(result, 'passed'), 0)
  const skipped = own.reduce((sum, result) => sum + count(result, 'pending') + count(result, 'skipped'), 0)
  process.stderr.write(`${test.name}: ${own.length} files, ${passed} passed, ${skipped} skipped\n`)
  if (passed === 0) {
    process.stderr.write(`the project "${test.name}" ran no test\n`)
    process.exitCode = 1
  }
}

// A file that could not even be loaded has no failed test of its own.
const broken = files.filter((result) => result.status === 'failed' && count(result, 'failed') === 0).length
process.stdout.write(`${report.numPassedTests} passed, ${report.numFailedTests + broken} failed\n`)
