import { describe, expect, test } from 'vitest';
import { clock, look, percent, share, subject, success, weight } from './words';

const traffic = { at: '', known: true, requests_s: 412.4, count: 4124, share: 0.334, success: 0.9995, weight: 100, weight_known: true };

describe('look', () => {
  test('a state has a word and a shape beside its colour', () => {
    expect(look('failing')).toEqual({ word: 'failing', shape: '✖', tone: 'bad' });
    expect(look('await_approval').word).toBe('await approval');
  });
  test('what is not known never looks good', () => {
    for (const s of ['unknown', '', 'a-new-state', 'constructor', '__proto__']) {
      expect(look(s).tone).toBe('none');
      expect(look(s).shape).toBe('?');
      expect(look(s).word).not.toBe('');
    }
  });
  test('the conditions differ in shape, not in colour alone', () => {
    const shapes = ['unknown', 'healthy', 'suspect', 'degraded', 'failing'].map((s) => look(s).shape);
    expect(new Set(shapes).size).toBe(shapes.length);
    const answers = ['pass', 'object', 'cannot_tell', 'bound'].map((s) => look(s).shape);
    expect(new Set(answers).size).toBe(answers.length);
  });
});

test('figures', () => {
  expect(percent(0)).toBe('0 %');
  expect(percent(1)).toBe('100 %');
  expect(percent(0.334)).toBe('33.4 %');
  expect(percent(0.0004)).toBe('< 0.1 %');
  expect(percent(NaN)).toBe('unknown');
});

test('traffic that is not known is unknown, not zero', () => {
  expect(share(traffic)).toBe('33.4 % of users, 412 requests/s');
  expect(share(undefined)).toBe('share of users unknown');
  expect(share({ ...traffic, known: false, share: 0 })).toBe('share of users unknown');
  expect(success(traffic)).toBe('100 % succeed');
  expect(success({ ...traffic, count: 0, success: 0 })).toBe('');
});

test('a weight that the edge does not confirm says so', () => {
  expect(weight(100, traffic)).toBe('weight 100 %');
  expect(weight(0, traffic)).toBe('weight 0 %, the edge says 100 %');
  expect(weight(50, { ...traffic, weight_known: false })).toBe("weight 50 %, the edge's word unknown");
  expect(weight(100, undefined)).toBe("weight 100 %, the edge's word unknown");
});

test('subjects are said as people say them', () => {
  expect(subject({ site: 'fra', service: 'checkout' })).toBe('checkout at fra');
  expect(subject({ site: 'fra', service: 'all' })).toBe('fra');
  expect(subject({ site: 'fra', service: 'checkout', unit: 'k7' })).toBe('checkout at fra (k7)');
});

test('a clock shows the day only when it is another one', () => {
  const now = new Date(2026, 2, 1, 12, 0, 0);
  expect(clock(new Date(2026, 2, 1, 9, 5, 7).toISOString(), now)).toBe('09:05:07');
  expect(clock(new Date(2026, 1, 28, 9, 5, 7).toISOString(), now)).toBe('2026-02-28 09:05:07');
  expect(clock('no time', now)).toBe('time unknown');
});
