// What a dry run counted, in words.
import type { Translator } from '#src/http/i18n.ts'
import type { Counts } from '#src/tokens/dry-run.ts'

export const countLines = ({ t }: Translator, counts: Counts): { label: string; count: number }[] => [
  { label: t('console.count.sessions'), count: counts.sessions },
  { label: t('console.count.grants'), count: counts.grants },
  { label: t('console.count.codes'), count: counts.codes },
  { label: t('console.count.accessTokens'), count: counts.accessTokens },
  { label: t('console.count.refreshTokens'), count: counts.refreshTokens },
]
