// The shapes of the API that the page reads (server/internal/api/openapi.yaml). Only the fields it uses.

export interface Subject {
  site: string;
  service: string;
  unit?: string;
}

export interface Traffic {
  at: string;
  known: boolean;
  requests_s: number;
  count: number;
  share: number;
  success: number;
  weight: number;
  weight_known: boolean;
}

export interface SiteService {
  name: string;
  condition: string;
  kind?: string;
  sentence?: string;
  routing: string;
  weight: number;
  traffic?: Traffic;
}

export interface Site {
  name: string;
  kind: string;
  region?: string;
  fresh?: boolean;
  last_at?: string;
  services: SiteService[] | null;
}

/** A replication link, its ends taken together. What is not known is absent. */
export interface Link {
  link: string;
  store: string;
  from: string;
  to: string;
  state: string;
  reason?: string;
  since?: string;
  lag_lower_seconds?: number;
  lag_upper_seconds?: number;
  exposure_seconds?: number;
  rpo_seconds?: number;
}

export interface Status {
  version: string;
  cluster_id: string;
  epoch: number;
  revision: number;
  acting: boolean;
  reason?: string;
  pending?: string;
  leadership?: Leadership;
  lab: boolean;
  brake?: { on: boolean; by: string; reason: string; at: string };
  tilt?: { on: boolean; reason?: string };
  statistics?: Calibration;
  feedback?: Precision[];
  maintenance?: { site: string; service: string; what: string; by: string; end: string }[];
  anomalies?: Anomaly[];
  special_times?: SpecialTime[];
  warming?: Warming[];
  observed_at?: string;
  open_episodes: number;
  parts: { name: string; ok: boolean; word: string }[] | null;
}

/** A series that a detector finds odd: a symptom or a cause. */
export interface Anomaly {
  id?: string;
  class: string;
  sentence: string;
  why?: string;
}

/** A time on the calendar that is not like others, while it is on. */
export interface SpecialTime {
  name: string;
  sentence: string;
}

/** A series that a detector found odd, from its onset on. */
export interface Alarm {
  id: string;
  watch: string;
  series: string;
  site: string;
  class: string;
  onset: string;
  last: string;
  over: boolean;
  sentence: string;
}

/** The last word of a person about an alarm or an episode. */
export interface Word {
  about: string;
  label: string;
  note?: string;
  by: string;
}

/** What somebody declared; of these the page looks for incidents. */
export interface Change {
  id: string;
  incident?: boolean;
  by: string;
  ended_by?: string;
}

/** How often the alarms of a watch were right by what people say; of episodes without a watch. */
export interface Precision {
  watch?: string;
  true: number;
  false: number;
  unsure: number;
  labels: number;
  precision?: number;
  lower?: number;
  upper?: number;
}

/** How far a watch is that does not judge all of its series yet. */
export interface Warming {
  watch: string;
  sentence: string;
}

/** What statistics promise and what they keep, over the last weeks; achieved is absent until enough is known. */
export interface Calibration {
  at: string;
  chance_per_year: number;
  crossings: number;
  series_weeks: number;
  expected: number;
  counted: number;
  confirmed: number;
  nominal: number;
  achieved?: number;
  lower?: number;
  upper?: number;
  needed: number;
}

/** Who decides, by the account of one replica; self is empty where the server is alone. */
export interface Leadership {
  self: string;
  leader?: string;
  leads: boolean;
  since?: string;
  quorum: boolean;
  reason?: string;
}

export interface SubjectView {
  subject: Subject;
  condition: string;
}

export interface ReplicaView {
  replica: string;
  version: string;
  unfit?: string;
  tilt?: { on: boolean; reason?: string };
  fresh_sites: number;
  subjects: SubjectView[] | null;
  heard?: string;
}

export interface Member {
  name: string;
  at?: string;
  url?: string;
  state: string;
  view?: ReplicaView;
}

export interface Replicas {
  leadership: Leadership;
  members: Member[] | null;
  at: string;
}

export interface Episode {
  id: string;
  subject: Subject;
  onset: string;
  opened_at: string;
  closed_at?: string;
  condition: string;
  worst: string;
  kind: string;
  routing: string;
  decisions: number;
  decision_id?: string;
  paged: boolean;
  held_until?: string;
  sentence: string;
}

export interface Ruling {
  guard: string;
  n: number;
  answer: string;
  bound?: number;
  sentence: string;
}

export interface Decision {
  id: string;
  episode_id: string;
  n: number;
  subject: Subject;
  at: string;
  policy: string;
  plan: string;
  mode: string;
  verdict: string;
  rulings: Ruling[] | null;
  alternatives?: { policy: string; plan: string; verdict: string; sentence: string }[] | null;
  sentence: string;
}

export interface Attempt {
  n: number;
  at: string;
  latency_ms: number;
  status?: number;
  result: string;
  detail?: string;
}

export interface StepRun {
  n: number;
  of: number;
  target: string;
  weight: number;
  state: string;
  attempts?: Attempt[] | null;
  sentence?: string;
}

export interface Action {
  id: string;
  subject: Subject;
  plan: string;
  attempt: number;
  by: string;
  reason: string;
  state: string;
  steps: StepRun[] | null;
  created_at: string;
  ended_at?: string;
  expires_at?: string;
  sentence: string;
}

export interface Line {
  at: string;
  episode_id?: string;
  subject: Subject;
  kind: string;
  sentence: string;
  seq: number;
  n: number;
}
