import { expect, test, vi } from 'vitest';
import { type Desk, marks, ofAlarm, ofEpisode, pastAlarms, pastEpisodes, precision } from './feedback';
import type { Alarm, Episode } from './types';

const now = new Date('2026-03-01T12:00:00Z');
const alarm: Alarm = {
  id: 'alm_1', watch: 'latency', series: 'latency of fra', site: 'fra', class: 'symptom', onset: '2026-03-01T11:00:00Z', last: '2026-03-01T11:05:00Z', over: true,
  sentence: '<b>odd</b>',
};
const episode = { id: 'ep_1', subject: { site: 'fra', service: 'checkout' }, onset: alarm.onset, closed_at: alarm.last, kind: 'gray', sentence: 'x' } as Episode;
const desk = (more: Partial<Desk> = {}): Desk => ({ words: [], me: '', changes: [], ask: () => undefined, ...more });

test('buttons have names, and say what they are for', () => {
  const ask = vi.fn();
  const m = marks(ofAlarm({ ...alarm, over: false }), desk({ ask }), 'now');
  expect(m.querySelector('[role=group]')?.getAttribute('aria-label')).toBe('Was the alarm of latency of fra right?');
  const buttons = [...m.querySelectorAll('button')];
  expect(buttons.map((b) => b.textContent)).toEqual(['Right', 'Wrong', 'Unsure']);
  buttons[1]?.click();
  const body = { watch: 'latency', series: 'latency of fra', onset: alarm.onset, label: 'false' };
  expect(ask).toHaveBeenCalledWith({ title: 'Wrong: the alarm of latency of fra', path: '/feedback', body, note: 'note' }, buttons[1]);
  expect(marks(ofEpisode(episode), desk(), 'now').innerHTML).toContain('the episode of checkout at fra');
});

test('everybody sees who said what, and each person the own button pressed', () => {
  const words = [
    { about: 'alm_1', label: 'true', by: 'admin jo' }, { about: 'alm_1', label: 'false', note: 'a backup', by: 'admin ann' }, { about: 'ep_1', label: 'true', by: 'admin bo' },
  ];
  const m = marks(ofAlarm({ ...alarm, over: false }), desk({ words, me: 'admin ann' }), 'now');
  expect(m.textContent).toBe('RightWrongUnsure admin jo: right; admin ann: wrong (a backup)');
  expect([...m.querySelectorAll('button')].map((b) => b.getAttribute('aria-pressed'))).toEqual(['false', 'true', 'false']);
});

test('what is over need not be learned from', () => {
  const ask = vi.fn();
  const forget = (about: ReturnType<typeof ofAlarm>, more: Partial<Desk> = {}) => marks(about, desk({ ask, ...more }), 'past');
  forget(ofAlarm(alarm)).querySelector<HTMLElement>('#forget-past-alm_1')?.click();
  expect(ask.mock.calls[0]?.[0]).toMatchObject({
    path: '/changes', note: 'what', body: { id: 'inc-alm_1', site: 'fra', service: 'all', start: alarm.onset, end: '2026-03-01T11:05:01.000Z', incident: true },
  });
  // Of an episode that others than statistics saw nothing is learned anyway.
  expect(forget(ofEpisode({ ...episode, worst: 'failing' })).textContent).not.toContain('Do not learn');
  expect(forget(ofEpisode({ ...episode, worst: 'suspect' })).textContent).toContain('Do not learn');
  const marked = { id: 'inc-alm_1', incident: true, by: 'admin jo' };
  expect(forget(ofAlarm(alarm), { changes: [marked] }).textContent).toContain('Not learned from, by admin jo.');
  expect(forget(ofAlarm(alarm), { changes: [{ ...marked, ended_by: 'admin ann' }] }).textContent).toContain('Learned from after all, by admin ann.');
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
  expect(precision([])).toEqual([]);
  const rows = precision([{ watch: 'latency', true: 3, false: 1, unsure: 1, labels: 6, precision: 0.75, lower: 0.364, upper: 0.9412 },
    { watch: 'errors', ...none, unsure: 1, labels: 1 }]);
  const cells = [...(rows[0]?.querySelectorAll('tbody tr') ?? [])].map((tr) => [...tr.children].map((c) => c.textContent));
  expect(cells).toEqual([['Watch latency', '3', '1', '1', '0.75 (0.364 to 0.941)', '6 labels'], ['Watch errors', '0', '0', '1', 'unknown', '1 label']]);
});
