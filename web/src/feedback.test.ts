import { expect, test, vi } from 'vitest';
import { type Desk, marks, ofAlarm, ofEpisode, pastAlarms, pastEpisodes, precision } from './feedback';
import type { Alarm, Episode } from './types';

const now = new Date('2026-03-01T12:00:00Z');
const alarm: Alarm = {
  id: 'alm_1', watch: 'latency', series: 'latency of fra', class: 'symptom', onset: '2026-03-01T11:00:00Z', last: '2026-03-01T11:05:00Z', over: true,
  sentence: '<b>odd</b>',
};
const episode = { id: 'ep_1', subject: { site: 'fra', service: 'checkout' }, onset: alarm.onset, closed_at: alarm.last, kind: 'gray', sentence: 'x' } as Episode;
const desk = (more: Partial<Desk> = {}): Desk => ({ words: [], me: '', say: () => undefined, ...more });

test('buttons have names, and say what they are for', () => {
  const say = vi.fn();
  const m = marks(ofAlarm(alarm), desk({ say }), 'now');
  expect(m.querySelector('[role=group]')?.getAttribute('aria-label')).toBe('Was the alarm of latency of fra right?');
  const buttons = [...m.querySelectorAll('button')];
  expect(buttons.map((b) => b.textContent)).toEqual(['Right', 'Wrong', 'Unsure']);
  buttons[1]?.click();
  expect(say).toHaveBeenCalledWith(ofAlarm(alarm), 'false', buttons[1]);
  expect(marks(ofEpisode(episode), desk(), 'now').innerHTML).toContain('the episode of checkout at fra');
});

test('everybody sees who said what, and each person the own button pressed', () => {
  const words = [
    { about: 'alm_1', label: 'true', by: 'admin jo' }, { about: 'alm_1', label: 'false', note: 'a backup', by: 'admin ann' }, { about: 'ep_1', label: 'true', by: 'admin bo' },
  ];
  const m = marks(ofAlarm(alarm), desk({ words, me: 'admin ann' }), 'now');
  expect(m.textContent).toBe('RightWrongUnsure admin jo: right; admin ann: wrong (a backup)');
  expect([...m.querySelectorAll('button')].map((b) => b.getAttribute('aria-pressed'))).toEqual(['false', 'true', 'false']);
});

test('what is over is listed, and what is not is elsewhere', () => {
  const list = pastAlarms([alarm, { ...alarm, id: 'alm_2', over: false }], desk(), now);
  expect(list[0]?.querySelectorAll('li')).toHaveLength(1);
  expect(list[0]?.querySelector('b')).toBeNull(); // text stays text
  expect(pastAlarms([], desk(), now)).toEqual([]);
  expect(pastEpisodes([episode, { ...episode, closed_at: undefined } as unknown as Episode], desk(), now)[0]?.querySelectorAll('li')).toHaveLength(1);
});

test('precision is said of what somebody spoke of', () => {
  const none = { true: 0, false: 0, unsure: 0, labels: 0 };
  expect(precision(undefined)).toEqual([]);
  expect(precision([none, { watch: 'errors', ...none }])).toEqual([]);
  const rows = precision([none, { watch: 'latency', true: 3, false: 1, unsure: 1, labels: 6, precision: 0.75, lower: 0.364, upper: 0.9412 },
    { watch: 'errors', ...none, unsure: 1, labels: 1 }]);
  const cells = [...(rows[0]?.querySelectorAll('tbody tr') ?? [])].map((tr) => [...tr.children].map((c) => c.textContent));
  expect(cells).toEqual([['Watch latency', '3', '1', '1', '0.75 (0.364 to 0.941)', '6 labels'], ['Watch errors', '0', '0', '1', 'unknown', '1 label']]);
});
