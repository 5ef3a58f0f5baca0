import { describe, expect, test } from 'vitest';
import { behind, matrix } from './links';
import type { Link } from './types';
import { interval } from './words';

const now = new Date('2026-03-01T12:00:00Z');
const link = (from: string, to: string, more: Partial<Link> = {}): Link => ({ link: `orders:${from}>${to}`, store: 'orders', from, to, state: 'caught_up', ...more });

describe('the matrix', () => {
  const tables = matrix([
    link('fra', 'ams', { lag_lower_seconds: 0, lag_upper_seconds: 0.0004, exposure_seconds: 1.25, rpo_seconds: 5 }),
    link('ams', 'fra', { state: 'link_down', lag_lower_seconds: 12.3, exposure_seconds: 14, rpo_seconds: 5, since: '2026-03-01T11:59:00Z' }),
    link('ams', 'lon', { state: 'unknown', reason: 'never_seen' }),
    { ...link('fra', 'ams'), store: '<b>carts</b>' },
  ], now);
  const rows = [...(tables[0] as HTMLElement).querySelectorAll('tbody tr')].map((r) => [...r.children].map((c) => c.textContent ?? ''));

  test('has one table a store, rows that write and columns that copy', () => {
    expect(tables).toHaveLength(2);
    expect(rows.map((r) => r[0])).toEqual(['ams', 'fra']);
    expect([...(tables[0] as HTMLElement).querySelectorAll('thead th')].map((c) => c.textContent)).toEqual(['From \u2192 to', 'ams', 'fra', 'lon']);
  });
  test('a cell has the state, the bounds and what is at risk', () => {
    expect(rows[1]?.[1]).toContain('caught up');
    expect(rows[1]?.[1]).toContain('at most 1 ms behind');
    expect(rows[1]?.[1]).toContain('at risk: at most 1.3 s of 5.0 s');
    expect(rows[0]?.[2]).toContain('link down');
    expect(rows[0]?.[2]).toContain('12.3 s or more behind');
    expect(rows[0]?.[2]).toContain('at risk: at most 14.0 s over 5.0 s');
  });
  test('what is not known is said, and what is not there is hatched', () => {
    expect(rows[0]?.[3]).toContain('? unknown never seen');
    expect(rows[0]?.[3]).toContain('how far behind is unknown');
    expect(rows[0]?.[3]).toContain('at risk: unknown');
    expect(rows[1]?.[3]).toBe('no link');
    expect(rows[0]?.[1]).toBe('itself');
    expect((tables[0] as HTMLElement).querySelectorAll('.hatched')).toHaveLength(1);
  });
  test('markup stays text', () => {
    expect((tables[1] as HTMLElement).querySelector('b')).toBeNull();
  });
  test('without links it says so', () => {
    expect(matrix([], now)[0]?.textContent).toContain('No replication link');
  });
});

test('a bound is never shown smaller than it is', () => {
  expect(interval(0)).toBe('0 ms');
  expect(interval(0.0001)).toBe('1 ms');
  expect(interval(0.9999)).toBe('1.0 s');
  expect(interval(4.01)).toBe('4.1 s');
  expect(interval(130)).toBe('130 s');
  expect(behind(link('a', 'b', { lag_lower_seconds: 2, lag_upper_seconds: 3 }))).toBe('2.0 s to 3.0 s behind');
});
