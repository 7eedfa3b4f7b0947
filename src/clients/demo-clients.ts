// The two clients that a development server makes for itself (bootstrap/demo.ts), so that the lines it prints can be pasted.
// Their ids are reserved: the declarative file neither lists nor changes them, and production has none.
import type { Flaw } from '#src/refusal.ts'

export const demoServiceId = 'demo-service'
export const demoWebId = 'demo-web'

export const isDemoClient = (id: string): boolean => id === demoServiceId || id === demoWebId

export function checkNotDemoClient(field: string, id: string): Flaw[] {
  if (!isDemoClient(id)) return []
  return [
    { field, problem: `is ${id}, a client that development servers make for themselves`, fix: 'Choose another id.' },
  ]
}
