// What statistics promise beside what they keep. Pure but for making elements.
import { type Child, h } from './dom';
import type { Anomaly, Calibration, SpecialTime, Warming } from './types';
import { badge } from './view';
import { figure } from './words';

/** Why what was achieved is not said, or how much it rests on. */
function basis(c: Calibration): string {
  const rests = `${figure(c.series_weeks)} series-weeks`;
  if (c.achieved === undefined) return `${figure(c.expected)} of ${figure(c.needed)} expected alarms in ${rests}`;
  return `${c.counted} unconfirmed and ${c.confirmed} confirmed alarms in ${rests}`;
}

/** How often statistics err: nominal and achieved side by side. */
export function rows(c: Calibration | undefined): HTMLElement[] {
  if (c === undefined) return [];
  const achieved = c.achieved === undefined
    ? h('span', { class: 'badge none' }, h('span', { class: 'shape', 'aria-hidden': 'true' }, '?'), ' unvalidated')
    : `${figure(c.achieved)} (${figure(c.lower ?? NaN)} to ${figure(c.upper ?? NaN)})`;
  return [h('table', { class: 'quiet' },
    h('caption', {}, 'How often statistics err, over the last four weeks'),
    h('thead', {}, h('tr', {}, h('td', {}), ...['nominal', 'achieved', 'of'].map((words) => h('th', { scope: 'col' }, words)))),
    h('tbody', {},
      h('tr', {}, h('th', { scope: 'row' }, 'False alarms of a series in a week'),
        h('td', {}, c.series_weeks > 0 ? figure(c.nominal) : 'unknown'), h('td', {}, achieved), h('td', {}, basis(c))),
      h('tr', {}, h('th', { scope: 'row' }, 'Accusations by chance in a year, of all subjects'),
        h('td', {}, `at most ${figure(c.chance_per_year)}`),
        h('td', {}, h('span', { class: 'badge none' }, h('span', { class: 'shape', 'aria-hidden': 'true' }, '?'), ' unvalidated')),
        h('td', {}, `${c.crossings} that nothing else confirmed`))))];
}

/** What the band of a detector rests on. Without an id it would close whenever its figures change. */
function why(a: Anomaly): Child {
  return a.why !== undefined && a.id !== undefined &&
    h('details', { id: `why-${a.id}` }, h('summary', { id: `why-${a.id}-summary` }, 'Why'), a.why);
}

/** What detectors find odd now, with its band; nothing while that is nothing. marks are what can be said of one. */
export function anomalies(all: Anomaly[] | undefined, marks: (a: Anomaly) => Child = () => false): HTMLElement[] {
  if (all === undefined || all.length === 0) return [];
  return [h('h3', {}, 'Odd by statistics'),
    h('ul', { class: 'odd' }, ...all.map((a) => h('li', {}, badge(a.class), ` ${a.sentence}`, why(a), marks(a))))];
}

/** One quiet line for each special time that is on. */
export function special(all: SpecialTime[] | undefined): HTMLElement[] {
  if (all === undefined || all.length === 0) return [];
  return [h('ul', { class: 'quiet lines' }, ...all.map((s) => h('li', {}, `${s.name}: ${s.sentence}`)))];
}

/** One quiet line for each watch that still learns. */
export function warming(all: Warming[] | undefined): HTMLElement[] {
  if (all === undefined || all.length === 0) return [];
  return [h('ul', { class: 'quiet lines' }, ...all.map((w) => h('li', {}, `${w.watch}: ${w.sentence}`)))];
}
