// Lists that remember what was used last, and no more than so many.
import { LRUCache } from 'lru-cache'

export type Recent<Value extends object | string | number> = LRUCache<string, Value>

/** @param most entries; the one that was not asked for the longest falls out. Room for them is taken as they come: given as `max` it would be
 *  taken at once, 200 kB for each list of 10,000. */
export function createRecent<Value extends object | string | number>(most: number): Recent<Value> {
  return new LRUCache({ maxSize: most, sizeCalculation: () => 1 })
}
