// The usual durable adapter, as the engine's examples and most installations have it: one table with the payload as jsonb, one
// statement for each storage call, each its own commit. It is what "bare engine on Postgres" means in the report.
import type { Adapter, AdapterFactory, AdapterPayload } from 'oidc-provider'
import pg from 'pg'

const schema = `
  CREATE TABLE IF NOT EXISTS oidc_payload (
    type text NOT NULL, id text NOT NULL, payload jsonb NOT NULL,
    grant_id text, user_code text, uid text, expires_at timestamptz, consumed_at timestamptz,
    PRIMARY KEY (type, id));
  CREATE INDEX IF NOT EXISTS oidc_payload_grant ON oidc_payload (grant_id);
  CREATE INDEX IF NOT EXISTS oidc_payload_uid ON oidc_payload (uid);
  CREATE INDEX IF NOT EXISTS oidc_payload_user_code ON oidc_payload (user_code)`

type Row = { payload: AdapterPayload; expires_at: Date | null; consumed_at: Date | null }

export async function createPostgresAdapter(url: string): Promise<AdapterFactory> {
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  await pool.query(schema)

  return (type: string): Adapter => {
    const find = async (name: string, column: string, value: string) => {
      const { rows } = await pool.query<Row>({
        name,
        text: `SELECT payload, expires_at, consumed_at FROM oidc_payload WHERE type = $1 AND ${column} = $2`,
        values: [type, value],
      })
      const [row] = rows
      if (!row || (row.expires_at && row.expires_at.getTime() < Date.now())) return undefined
      return row.consumed_at
        ? { ...row.payload, consumed: Math.floor(row.consumed_at.getTime() / 1000) }
        : { ...row.payload }
    }
    return {
      async upsert(id, payload, expiresIn) {
        await pool.query({
          name: 'upsert',
          text: `INSERT INTO oidc_payload (type, id, payload, grant_id, user_code, uid, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (type, id) DO UPDATE SET payload = EXCLUDED.payload, grant_id = EXCLUDED.grant_id,
                   user_code = EXCLUDED.user_code, uid = EXCLUDED.uid, expires_at = EXCLUDED.expires_at`,
          values: [
            type,
            id,
            payload,
            payload.grantId ?? null,
            payload.userCode ?? null,
            payload.uid ?? null,
            expiresIn ? new Date(Date.now() + expiresIn * 1000) : null,
          ],
        })
      },
      find: (id) => find('find', 'id', id),
      findByUid: (uid) => find('find-by-uid', 'uid', uid),
      findByUserCode: (userCode) => find('find-by-user-code', 'user_code', userCode),
      async consume(id) {
        await pool.query({
          name: 'consume',
          text: 'UPDATE oidc_payload SET consumed_at = now() WHERE type = $1 AND id = $2',
          values: [type, id],
        })
      },
      async destroy(id) {
        await pool.query({
          name: 'destroy',
          text: 'DELETE FROM oidc_payload WHERE type = $1 AND id = $2',
          values: [type, id],
        })
      },
      async revokeByGrantId(grantId) {
        await pool.query({
          name: 'revoke',
          text: 'DELETE FROM oidc_payload WHERE type = $1 AND grant_id = $2',
          values: [type, grantId],
        })
      },
    }
  }
}
