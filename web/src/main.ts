import { base, get, list, Trouble } from './api';
import { byId, type Child, replace } from './dom';
import * as feedback from './feedback';
import { matrix } from './links';
import * as replicas from './replicas';
import * as say from './say';
import { Story, storyLength } from './story';
import type { Action, Alarm, Anomaly, Change, Decision, Episode, Line, Link, Replicas, Site, Status, Word } from './types';
import * as statistics from './statistics';
import * as view from './view';

const pollEvery = 2000;
const soon = 150; // records come in bunches: one reading for all of them

const story = new Story();
const shown = new Map<string, string>(); // what each part of the page was made of

let status: Status | undefined;
let ledger = ''; // a story is of one ledger: in another one its numbers mean other lines
let link: view.Link = 'connecting';
let lostSince: Date | undefined;
let observedAge: number | undefined; // at the time of reading, by the server's clock
let readAt = 0;
let sites: Site[] | undefined;
let others: Replicas | undefined; // undefined: the server is alone
let othersAt = 0;
let alarms: Alarm[] = [];
const desk: feedback.Desk = { words: [], me: '', changes: [], ask: say.ask };
let problem = '';
let streamOpen = false;
let reading = false;
let again = false;

/** Makes a part of the page anew when what it is made of has changed. */
function show(id: string, of: unknown, make: () => Node[]): void {
  const text = JSON.stringify(of) ?? '';
  if (shown.get(id) === text) return;
  shown.set(id, text);
  replace(byId(id), ...make());
}

async function read(): Promise<void> {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  try {
    const now = new Date();
    const day = now.toDateString(); // at midnight, times get their day
    const s = await get<Status>('/status');
    status = s.body;
    const identity = `${status.cluster_id} ${status.epoch}`;
    if (ledger !== identity) forgetStory();
    ledger = identity;
    readAt = performance.now();
    observedAge = status.observed_at === undefined ? undefined
      : ((s.date ?? now).getTime() - new Date(status.observed_at).getTime()) / 1000;
    // Each part by itself: what one of them is missing must not hide the others.
    const parts = await Promise.allSettled([readFeedback(), readSites(), readEpisodes(now, day), readActions(now, day), readStory(now),
      readReplicas(status), readLinks(now, day)]);
    const failures = parts.filter((p): p is PromiseRejectedResult => p.status === 'rejected').map((p) => p.reason as unknown);
    const lost = failures.find((f) => f instanceof Trouble && f.kind === 'lost');
    if (lost !== undefined) throw lost;
    problem = failures.map(words).join(' ');
    connected();
  } catch (e) {
    if (e instanceof Trouble && e.kind !== 'lost') {
      problem = e.message;
      connected();
    } else {
      lost();
      if (!(e instanceof Trouble)) console.error(e);
    }
  } finally {
    reading = false;
    showState();
    if (again) {
      again = false;
      poke();
    }
  }
}

function words(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}

async function readSites(): Promise<void> {
  sites = list((await get<Site[]>('/sites')).body);
  showReplicas();
}

async function readLinks(now: Date, day: string): Promise<void> {
  const { links } = (await get<{ links?: Link[] }>('/conditions')).body;
  const all = list(links ?? null);
  byId('links-part').hidden = all.length === 0;
  show('links', [all, day], () => matrix(all, now));
}

async function readReplicas(s: Status): Promise<void> {
  if (s.leadership === undefined || s.leadership.self === '') {
    others = undefined;
    return;
  }
  others = (await get<Replicas>('/replicas')).body;
  othersAt = performance.now();
  showReplicas();
}

/** The sites and the replicas: the words of replicas age between two readings. */
function showReplicas(): void {
  const now = new Date();
  const day = now.toDateString();
  const all = others;
  const standings = replicas.standings(all, (performance.now() - othersAt) / 1000);
  byId('replicas-strip').hidden = all === undefined;
  show('replicas', [all?.leadership, day, standings.map(({ member: m, vote }) =>
    [m.name, m.at, m.url, vote, m.view?.version, m.view?.tilt?.reason, m.view?.unfit, m.view?.fresh_sites])],
  () => (all === undefined ? [] : replicas.strip(all, standings, now)));
  replicas.tellAges(byId('replicas'), standings);
  const shownSites = sites;
  if (shownSites === undefined) return;
  show('sites', [shownSites, day, standings.map(({ member: m, vote }) =>
    [m.name, vote, m.view?.subjects, vote === 'stale' ? m.view?.heard : ''])], () => [view.sites(shownSites, standings, now)]);
}

/** What people said, and the alarms of which they may say it. */
async function readFeedback(): Promise<void> {
  const [said, raised, declared] = await Promise.all([get<Word[]>('/feedback?limit=1000'), get<Alarm[]>('/alarms?limit=100'), get<Change[]>('/changes?limit=200')]);
  desk.words = list(said.body);
  desk.changes = list(declared.body).filter((c) => c.incident);
  alarms = list(raised.body);
}

function marksOf(a: Anomaly): Child {
  const alarm = alarms.find((x) => x.id === a.id);
  return alarm !== undefined && feedback.marks(feedback.ofAlarm(alarm), desk, 'now');
}

async function readEpisodes(now: Date, day: string): Promise<void> {
  const open = list((await get<Episode[]>('/episodes?open=true&limit=50')).body);
  show('episodes', [open, day, desk.words, desk.me], () => [view.episodes(open, now, (e) => feedback.marks(feedback.ofEpisode(e), desk, 'now'))]);
  const newest = list((await get<Episode[]>('/episodes?limit=20')).body);
  show('episodes-past', [newest, day, desk.words, desk.me, desk.changes], () => feedback.pastEpisodes(newest, desk, now));
  const latest = open.length > 0 ? open : newest;
  const decisions = await Promise.all(latest.map((e) => e.decision_id).filter((id): id is string => id !== undefined && id !== '')
    .slice(0, 10).map(async (id) => (await get<Decision>(`/decisions/${encodeURIComponent(id)}`)).body));
  decisions.sort((a, b) => new Date(b.at).getTime() - new Date(a.at).getTime());
  show('decision', [decisions[0] ?? null, day], () => [view.decision(decisions[0], now)]);
}

async function readActions(now: Date, day: string): Promise<void> {
  const all = list((await get<Action[]>('/actions?limit=10')).body);
  show('actions', [all, day], () => [view.actions(all, now)]);
}

async function readStory(now: Date): Promise<void> {
  const after = story.newest > 0 ? `after=${story.newest}&` : '';
  const fresh = story.add(list((await get<Line[]>(`/timeline?${after}limit=${storyLength}`)).body));
  const ol = byId('story');
  for (const l of fresh) ol.prepend(view.line(l, now));
  while (ol.childElementCount > storyLength) ol.lastElementChild?.remove();
  byId('story-empty').textContent = ol.childElementCount === 0 ? 'Nothing has happened yet.' : '';
  ol.removeAttribute('aria-busy');
}

function forgetStory(): void {
  story.clear();
  byId('story').replaceChildren();
}

function connected(): void {
  lostSince = undefined;
  link = streamOpen ? 'live' : 'polling';
}

function lost(): void {
  lostSince ??= new Date();
  link = 'lost';
}

/** The state of the connection and of the data; also between two readings, because data ages by itself. */
function showState(): void {
  showReplicas();
  const age = observedAge === undefined ? undefined : observedAge + (performance.now() - readAt) / 1000;
  const { alarms: loudly, notes } = view.banners(status, link, lostSince, age, problem);
  const loud = view.loud(status, link);
  show('loud', loud, () => view.loudBanner(loud));
  show('alarms', loudly, () => view.banner(loudly, 'alarm'));
  show('notes', notes, () => view.banner(notes, 'note'));
  show('status', [status, link], () => [view.statusLine(status, link)]);
  show('statistics', status?.statistics, () => statistics.rows(status?.statistics));
  const odd = status?.anomalies;
  show('anomalies', [odd, desk.words, desk.me, odd?.map((a) => alarms.some((x) => x.id === a.id))], () => statistics.anomalies(odd, marksOf));
  show('alarms-past', [alarms.filter((a) => a.over), desk.words, desk.me, desk.changes, new Date().toDateString()], () => feedback.pastAlarms(alarms, desk, new Date()));
  show('precision', status?.feedback, () => feedback.precision(status?.feedback));
  show('special', status?.special_times, () => statistics.special(status?.special_times));
  show('warming', status?.warming, () => statistics.warming(status?.warming));
  const old = link === 'lost' || (age !== undefined && age > view.staleAfter);
  document.body.classList.toggle('old', old);
  document.title = `${loudly.length + loud.length > 0 ? '✖ ' : ''}${status !== undefined && status.open_episodes > 0 ? `(${status.open_episodes}) ` : ''}Evenkeel`;
}

let poked: ReturnType<typeof setTimeout> | undefined;

function poke(): void {
  poked ??= setTimeout(() => {
    poked = undefined;
    void read();
  }, soon);
}

/** The stream only says that there is something to read. The records come from where they are kept. */
function listen(): void {
  const stream = new EventSource(`${base}/events`);
  stream.onopen = () => {
    streamOpen = true;
    poke();
  };
  for (const name of ['line', 'episode', 'decision', 'action', 'routing', 'brake', 'notice']) stream.addEventListener(name, poke);
  stream.addEventListener('reset', () => {
    forgetStory();
    poke();
  });
  stream.onerror = () => {
    streamOpen = false;
    poke();
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, pollEvery);
  };
}

say.listen((kept, order) => {
  if (order.path === '/feedback') {
    const w = kept as Word;
    desk.me = w.by;
    desk.words = [w, ...desk.words.filter((x) => x.about !== w.about || x.by !== w.by)];
  } else {
    desk.changes = [kept as Change, ...desk.changes];
  }
  void read();
});
void read();
listen();
setInterval(() => void read(), pollEvery);
setInterval(showState, 500);
