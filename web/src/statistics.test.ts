import { describe, expect, test } from 'vitest';
import { anomalies, rows, warming } from './statistics';
import type { Calibration } from './types';

const little: Calibration = {
  at: '2026-03-01T12:00:00Z', chance_per_year: 1, crossings: 2, series_weeks: 3.14159, expected: 3.14159, counted: 1, confirmed: 0,
  nominal: 1, needed: 10,
};

function text(c: Calibration | undefined): string {
  return rows(c).map((r) => r.textContent ?? '').join('');
}

describe('how often statistics err', () => {
  test('nothing is said before it is known', () => {
    expect(rows(undefined)).toEqual([]);
    expect(text({ ...little, series_weeks: 0, nominal: 0 })).toContain('unknown');
  });
  test('what was achieved is unvalidated until enough was expected', () => {
    for (const words of ['unvalidated', '3.14 of 10 expected alarms in 3.14 series-weeks', 'at most 1', '2 that nothing else confirmed']) {
      expect(text(little)).toContain(words);
    }
  });
  test('nominal and achieved stand side by side', () => {
    const c = { ...little, series_weeks: 40, expected: 40, counted: 10, confirmed: 3, achieved: 0.25, lower: 0.136, upper: 0.424 };
    const cells = [...(rows(c)[0]?.querySelectorAll('tbody tr:first-child td') ?? [])].map((td) => td.textContent);
    expect(cells).toEqual(['1', '0.25 (0.136 to 0.424)', '10 unconfirmed and 3 confirmed alarms in 40 series-weeks']);
  });
  test('headers name rows and columns', () => {
    expect(rows(little)[0]?.querySelectorAll('th[scope=row]')).toHaveLength(2);
    expect(rows(little)[0]?.querySelectorAll('th[scope=col]')).toHaveLength(3);
  });
});

test('a watch has a line only while it warms', () => {
  expect(warming(undefined)).toEqual([]);
  const lines = warming([
    { watch: 'http-latency', sentence: 'warming, 40 of 75 points, about 3 min' }, { watch: 'disk', sentence: 'warming' },
  ])[0]?.querySelectorAll('li') ?? [];
  expect([...lines].map((l) => l.textContent)).toEqual(['http-latency: warming, 40 of 75 points, about 3 min', 'disk: warming']);
});

test('what a band rests on can be asked for', () => {
  const lines = anomalies([
    { id: 'al_1', class: 'symptom', sentence: 'slow', why: 'the band rests on 8640 values' }, { class: 'cause', sentence: 'of an older replica', why: 'lost' },
  ]).at(-1)?.querySelectorAll('li') ?? [];
  expect([...lines].map((l) => l.querySelector('details')?.textContent)).toEqual(['Whythe band rests on 8640 values', undefined]);
  expect([...lines].map((l) => l.querySelector('details')?.id)).toEqual(['why-al_1', undefined]);
});

test('what is odd has its class and its band', () => {
  expect(anomalies(undefined)).toEqual([]);
  const lines = anomalies([
    { class: 'symptom', sentence: 'edge-latency of checkout at fra: 0.9999, expected 0.02, band -0.98 to 1.02, since 12:00:00 UTC' },
    { class: 'cause', sentence: 'disk{host_name="a"} of fra: 0.622 reaches 0.9 in 28 s, since 12:00:00 UTC' },
  ]).at(-1)?.querySelectorAll('li') ?? [];
  expect([...lines].map((l) => l.textContent)).toEqual([
    '◆ symptom edge-latency of checkout at fra: 0.9999, expected 0.02, band -0.98 to 1.02, since 12:00:00 UTC',
    '■ cause disk{host_name="a"} of fra: 0.622 reaches 0.9 in 28 s, since 12:00:00 UTC',
  ]);
});
