// What an operator watches: how much waits for endpoints that are enabled, and for how long the oldest does.
import type { Database } from '#src/db/database.ts'

export type WebhookBacklog = { stage: 'outbox' | 'deliveries'; rows: number; seconds: number }

/** What waits for a later attempt is counted from its event. */
export async function webhookBacklog({ pool }: Pick<Database, 'pool'>): Promise<WebhookBacklog[]> {
  const { rows } = await pool.query<WebhookBacklog>(`
    SELECT 'outbox' AS stage, count(*)::int AS rows, COALESCE(extract(epoch FROM now() - min(created_at)), 0)::float8 AS seconds FROM webhook_outbox
    UNION ALL
    SELECT 'deliveries', count(*)::int, COALESCE(extract(epoch FROM now() - min(d.created_at)), 0)::float8
    FROM webhook_endpoint e JOIN webhook_delivery d ON d.endpoint_id = e.id AND d.next_attempt_at IS NOT NULL WHERE e.disabled_at IS NULL`)
  return rows
}
