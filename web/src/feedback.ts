// What people say of alarms and episodes: whether they were right. Pure but for making elements.
import { type Child, h } from './dom';
import type { Alarm, Episode, Precision, Word } from './types';
import { badge, time } from './view';
import { figure, subject } from './words';

/** What a word is about: an episode or an alarm, and how people call it. */
export interface About {
  id: string;
  name: string;
  request: { episode_id: string } | { watch: string; series: string; onset: string };
}

export const labels = ['true', 'false', 'unsure'] as const;
export type Label = (typeof labels)[number];

/** What is written on a button. */
export const verbs: Record<Label, string> = { true: 'Right', false: 'Wrong', unsure: 'Unsure' };
const words: Record<string, string> = { true: 'right', false: 'wrong', unsure: 'unsure' };

/** What the marks need: the last words of all people, the person who sits here once known, and what a button does. */
export interface Desk {
  words: Word[];
  me: string;
  say: (about: About, label: Label, button: HTMLElement) => void;
}

export function ofEpisode(e: Episode): About {
  return { id: e.id, name: `the episode of ${subject(e.subject)}`, request: { episode_id: e.id } };
}

export function ofAlarm(a: Alarm): About {
  return { id: a.id, name: `the alarm of ${a.series}`, request: { watch: a.watch, series: a.series, onset: a.onset } };
}

/** The buttons, and who said what. place tells two of the same thing on a page apart. */
export function marks(about: About, desk: Desk, place: string): HTMLElement {
  const said = desk.words.filter((w) => w.about === about.id);
  const own = said.find((w) => w.by === desk.me)?.label;
  return h('div', { class: 'marks' },
    h('span', { role: 'group', 'aria-label': `Was ${about.name} right?` }, ...labels.map((label) => {
      const b = h('button', { type: 'button', id: `say-${place}-${about.id}-${label}`, 'aria-pressed': String(own === label) }, verbs[label]);
      b.addEventListener('click', () => desk.say(about, label, b));
      return b;
    })),
    said.length > 0 && h('span', { class: 'quiet' }, ' ', said.map((w) =>
      `${w.by}: ${words[w.label] ?? w.label}${w.note === undefined || w.note === '' ? '' : ` (${w.note})`}`).join('; ')));
}

/** What is over, to be spoken of after the fact; nothing while that is nothing. */
function past(id: string, title: string, items: HTMLElement[]): HTMLElement[] {
  if (items.length === 0) return [];
  return [h('details', { id }, h('summary', { id: `${id}-summary` }, `${title} (${items.length})`), h('ul', { class: 'odd' }, ...items))];
}

export function pastAlarms(all: Alarm[], desk: Desk, now: Date): HTMLElement[] {
  return past('past-alarms', 'Odd in the last 24 hours', all.filter((a) => a.over).map((a) =>
    h('li', {}, badge(a.class), ' ', time(a.onset, now), ' to ', time(a.last, now), ` ${a.sentence}`, marks(ofAlarm(a), desk, 'past'))));
}

export function pastEpisodes(all: Episode[], desk: Desk, now: Date): HTMLElement[] {
  return past('past-episodes', 'Closed lately', all.filter((e) => e.closed_at !== undefined).map((e) =>
    h('li', {}, time(e.onset, now), ' to ', time(e.closed_at ?? '', now), ` ${subject(e.subject)}, ${e.kind}: ${e.sentence}`, marks(ofEpisode(e), desk, 'past'))));
}

/** How often alarms were right, of the watches that somebody spoke of. */
export function precision(all: Precision[] | undefined): HTMLElement[] {
  const some = (all ?? []).filter((p) => p.labels > 0);
  if (some.length === 0) return [];
  const head = ['right', 'wrong', 'unsure', 'precision (90 %)', 'of'];
  return [h('div', { class: 'wide', role: 'region', 'aria-label': 'Feedback', tabindex: '0' }, h('table', { class: 'quiet' },
    h('caption', {}, 'How often alarms were right by what people say of them, over the last 90 days. They choose what they label, and no threshold moves by it.'),
    h('thead', {}, h('tr', {}, h('td', {}), ...head.map((w) => h('th', { scope: 'col' }, w)))),
    h('tbody', {}, ...some.map((p) => h('tr', {}, h('th', { scope: 'row' }, p.watch === undefined ? 'Episodes' : `Watch ${p.watch}`),
      ...[p.true, p.false, p.unsure].map((n) => h('td', { class: 'figures' }, String(n))),
      h('td', { class: 'figures' }, share(p)), h('td', {}, `${p.labels} ${p.labels === 1 ? 'label' : 'labels'}`))))))];
}

function share(p: Precision): Child {
  return p.precision === undefined ? 'unknown' : `${figure(p.precision)} (${figure(p.lower ?? NaN)} to ${figure(p.upper ?? NaN)})`;
}
