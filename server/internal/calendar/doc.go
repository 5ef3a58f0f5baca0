// Package calendar turns cron windows in civil time into plain intervals; nobody past it thinks about clocks that jump.
//
// It is pure: the same windows and times give the same intervals. A window is {cron start, lasts, time zone}.
// The cron expression is read on the wall clock of the zone, as a person reads it:
//
//   - every wall-clock time comes once. Where clocks go back and an hour repeats, a window that starts in that
//     hour opens in its first pass and not again in the second;
//   - where clocks go forward, a start that falls into the hour that is left out opens at the end of the gap;
//   - lasts is wall-clock time: a window of 8 h from 22:00 closes when the wall clock first shows 06:00, which is
//     7 or 9 hours later in the nights of the change. A close that falls into the gap is the end of the gap. A
//     window that opened at the end of a gap closes lasts after that.
//
// The only foreign code is the parser of robfig/cron, which by itself would skip a start in the gap and run one in
// the repeated hour twice; its schedules are therefore asked in a time zone without jumps.
package calendar
