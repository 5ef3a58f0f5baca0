// Package pagerduty is the voice: it tells PagerDuty of an alert, of news about it and of its end, by the Events
// API v2.
//
// [Client.Send] makes one attempt and returns when PagerDuty has answered, so a caller decides about retries; 202 means
// queued there, not that a phone rang. Before it goes out an event waits in a queue:
//
//   - Rate. PagerDuty takes about 120 events a minute for a key. The bucket holds 20 and fills at 100 a minute, so
//     that no 60 seconds ever see more than 120.
//   - Priority. Resolves and critical triggers go first, then error, warning and info; equals in order of arrival.
//     A flood of low severity cannot delay what matters by more than one token (0.6 s).
//   - Order. Events of one deduplication key go out one at a time in the order of the calls. A resolve that waits for
//     its trigger is not sent when that trigger turns out not to be accepted: Transient with ErrTriggerNotAccepted.
//   - Coalescing. A trigger or update that still waits is replaced by a newer one of the same key; its Send returns
//     Replaced. One that still waits when its resolve comes is not sent at all; its Send returns Cancelled. The
//     resolve itself is sent: an alert of before a restart may be open, and PagerDuty drops a resolve without one.
//
// # Errors
//
// 202 is success. 400 and every other 4xx but 408 and 429 is Permanent: trying again would say the same. 408, 429,
// 5xx, any other answer and a connection that failed are Transient. Silence after the event was sent is Unknown;
// sending it again is safe, since the deduplication key makes one alert of both. Advice of PagerDuty: a few retries
// with tens of seconds to minutes between.
//
// # Limits
//
// Summary 1024 characters, source, component, group, class and client 1024 (our own limit), deduplication key 255,
// event 512000 bytes: longer texts are cut, and an event that is too large loses details from the end, then links, then
// images - never summary, source, severity or key.
package pagerduty
